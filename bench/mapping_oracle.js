// Evaluates expressions with the JavaScript reference: one JSON line in, {expr, data?, bindings?}, one JSON line out:
// {v: value} | {u: true} | {e: code} | {x: message} for an internal fault | {n: true} for a number JSON cannot write.
// The reference evaluates the items of a constructor concurrently, so that which of two errors wins is a race; here they are
// evaluated one after the other; grouping an empty array would also put something into it. A run in which the reference changed its input is no answer either.
const fs = require('fs');
const Module = require('module');

const file = require.resolve('jsonata');
const source = fs.readFileSync(file, 'utf8').replace(/Promise\.all\(/g, '(').replace(/\.map\(async \(/g, '.inTurn(async (')
    .replace('input.push(undefined)', 'input = [undefined]');
Object.defineProperty(Array.prototype, 'inTurn', {value: async function (call) {
    const results = [];
    for (let index = 0; index < this.length; index++) results.push(await call(this[index], index));
    return results;
}});
const loaded = new Module(file);
loaded.filename = file;
loaded._compile(source, file);
const jsonata = loaded.exports;
const lines = require('readline').createInterface({input: process.stdin});

function plain(value, depth) {
    if (depth > 60) throw new Error('deep');
    if (typeof value === 'number' && !isFinite(value)) { const error = new Error('n'); error.nonfinite = true; throw error; }
    if (typeof value === 'function' || (value && (value._jsonata_lambda || value._jsonata_function))) return {'\u0000function': 1};
    if (value === undefined) return null;
    if (Array.isArray(value)) return Array.from(value, one => plain(one, depth + 1));
    if (value && typeof value === 'object') {
        const made = {};
        for (const key of Object.keys(value)) made[key] = plain(value[key], depth + 1);
        return made;
    }
    return value;
}

async function answer(line) {
    const task = JSON.parse(line);
    try {
        const expression = jsonata(task.expr, {timeout: 2000, stack: 400});
        const value = await expression.evaluate('data' in task ? task.data : undefined, task.bindings || {});
        if ('data' in task && JSON.stringify(task.data) !== JSON.stringify(JSON.parse(line).data)) return {x: 'input changed'};
        if (value === undefined) return {u: true};
        return {v: plain(value, 0)};
    } catch (error) {
        if (error.nonfinite) return {n: true};
        return error.code && /^[STDU]\d{4}$/.test(error.code) ? {e: error.code} : {x: String(error.message || error)};
    }
}

(async () => {
    for await (const line of lines) process.stdout.write(JSON.stringify(await answer(line)) + '\n');
})();
