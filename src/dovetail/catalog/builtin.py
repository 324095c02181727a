"""What comes with Dovetail, by the word a project uses. Nothing is imported until somebody asks for it."""

STEPS = {
    "aggregate": "dovetail.steps.aggregate:Aggregate",
    "approve": "dovetail.steps.approve:Approve",
    "call": "dovetail.steps.call:Call",
    "claim_check": "dovetail.steps.claim_check:ClaimCheck",
    "dedupe": "dovetail.steps.dedupe:Dedupe",
    "delay": "dovetail.steps.delay:Delay",
    "enrich": "dovetail.steps.enrich:Enrich",
    "filter": "dovetail.steps.filter:Filter",
    "join": "dovetail.steps.join:Join",
    "log": "dovetail.steps.log:Log",
    "loop": "dovetail.steps.loop:Loop",
    "map": "dovetail.steps.map:Map",
    "parallel": "dovetail.steps.parallel:Parallel",
    "publish": "dovetail.steps.publish:Publish",
    "python": "dovetail.steps.python:Python",
    "resequence": "dovetail.steps.resequence:Resequence",
    "respond": "dovetail.steps.respond:Respond",
    "route": "dovetail.steps.route:Route",
    "scatter_gather": "dovetail.steps.scatter_gather:ScatterGather",
    "send": "dovetail.steps.send:Send",
    "set": "dovetail.steps.set:Set",
    "set_headers": "dovetail.steps.set_headers:SetHeaders",
    "signal": "dovetail.steps.signal:Signal",
    "split": "dovetail.steps.split:Split",
    "sub_flow": "dovetail.steps.sub_flow:SubFlow",
    "throttle": "dovetail.steps.throttle:Throttle",
    "try": "dovetail.steps.try_:Try",
    "validate": "dovetail.steps.validate:Validate",
    "wait": "dovetail.steps.wait:Wait",
    "wire_tap": "dovetail.steps.wire_tap:WireTap",
}

CONNECTIONS = {
    "file": "dovetail.connectors.file:FileConnection",
    "http": "dovetail.connectors.http:HttpConnection",
}

SOURCES = {
    "file": "dovetail.connectors.file:FileSource",
    "schedule": "dovetail.connectors.schedule:ScheduleSource",
    "topic": "dovetail.connectors.topic:TopicSource",
    "webhook": "dovetail.connectors.http:WebhookSource",
}
