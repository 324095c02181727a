// Times the JavaScript reference: {cases: [{expr, data?, bindings?}], seconds} on standard input, µs of CPU per evaluation out.
const jsonata = require('jsonata');

async function timed(task, seconds) {
    const expression = jsonata(task.expr);
    const once = () => expression.evaluate('data' in task ? task.data : undefined, task.bindings || {});
    const used = () => { const usage = process.cpuUsage(); return usage.user + usage.system; };
    for (let index = 0; index < 20; index++) await once();
    const start = used();
    let count = 0;
    while (used() - start < seconds * 1e6) {
        for (let index = 0; index < 5; index++) await once();
        count += 5;
    }
    return (used() - start) / count;
}

(async () => {
    const input = JSON.parse(require('fs').readFileSync(0, 'utf8'));
    const results = [];
    for (const task of input.cases) {
        try {
            results.push(await timed(task, input.seconds));
        } catch (error) {
            results.push(null);
        }
    }
    process.stdout.write(JSON.stringify(results));
})();
