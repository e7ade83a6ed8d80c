// Calls one task by a client of Celery's for Node and prints what comes back, as one line of JSON.
//   node node_call.js CLIENT URL TASK ARGS KWARGS OPTIONS      (JSON the last three)
"use strict";
const [, , client, url, task, argsText, kwargsText, optionsText] = process.argv;
const args = JSON.parse(argsText), kwargs = JSON.parse(kwargsText), options = JSON.parse(optionsText);

function tell(found) {
    process.stdout.write(JSON.stringify(found) + "\n", () => process.exit(0));
}

// celery-node puts the exception's fields into its error, celery-ts hands them out as a value.
function fail(error) {
    tell({ error: String(error.exc_message || error.message || JSON.stringify(error)) });
}

function end(value) {
    if (value && value.exc_type)
        fail(value);
    else
        tell({ value });
}

const clients = {
    "celery-node": () => {
        const app = require("celery-node").createClient(url, url);
        app.createTask(task).applyAsync(args, kwargs).get(20000).then(end, fail);
    },
    // protocol 1
    "node-celery": () => {
        const app = require("node-celery").createClient({ CELERY_BROKER_URL: url, CELERY_RESULT_BACKEND: url });
        app.on("error", fail);
        app.on("connect", () => app.call(task, args, kwargs, options, (found) => {
            end(found.result);
        }));
    },
    "celery-ts": () => {
        const celery = require("celery-ts");
        const app = celery.createClient({ brokerUrl: url, resultBackend: url });
        const given = { args, kwargs };
        if (options.compression)
            given.compression = celery.Compressor[options.compression];
        if (options.expires)
            given.expires = new Date(options.expires);
        // It listens for results without waiting to hear that it is subscribed: one that is there at once is
        // never seen.
        given.eta = new Date(Date.now() + 700);
        app.createTask(task).applyAsync(given).get().then(end, fail);
    },
};
process.on("uncaughtException", fail);
clients[client]();
