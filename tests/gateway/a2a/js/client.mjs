// Speaks to a test agent with @a2a-js/sdk over one transport: `node client.mjs URL JSONRPC|HTTP+JSON`. Prints what came as JSON.
import { ClientFactory, JsonRpcTransportFactory, RestTransportFactory } from "@a2a-js/sdk/client";

const [url, binding] = process.argv.slice(2);
const transport = binding === "JSONRPC" ? new JsonRpcTransportFactory() : new RestTransportFactory();
const client = await new ClientFactory({ transports: [transport] }).createFromUrl(url);

const params = (text, more = {}) => ({
  tenant: "",
  message: {
    messageId: "m-1", contextId: "", taskId: "", role: 1, metadata: undefined, extensions: [], referenceTaskIds: [],
    parts: [{ content: { $case: "text", value: text }, metadata: undefined, filename: "", mediaType: "" }], ...more,
  },
  configuration: undefined,
  metadata: undefined,
});
const failure = async (act) => { try { await act(); return "none"; } catch (error) { return error.name; } };

const found = {};
const done = await client.sendMessage(params("echo hello"));
found.sent = done;
const task = done.id ? done : done.payload?.value ?? done.task;
found.got = (await client.getTask({ tenant: "", id: task.id })).status.state;
found.events = [];
for await (const event of client.sendMessageStream(params("chunks 3"))) found.events.push(event);
const asked = await client.sendMessage(params("input"));
const askedTask = asked.id ? asked : asked.payload?.value ?? asked.task;
found.resumed = await client.sendMessage(params("blue", { taskId: askedTask.id, contextId: askedTask.contextId }));
found.missing = await failure(() => client.getTask({ tenant: "", id: "nothing" }));
found.uncancelable = await failure(() => client.cancelTask({ tenant: "", id: task.id, metadata: undefined }));
found.message = await client.sendMessage(params("message hi"));
console.log(JSON.stringify(found));
