// The HTTP surface, one function a call. Throws Problem, and nothing else, except AbortError.

import { showMode } from "./mode.js";
import { Problem } from "./problem.js";

const TOKEN_KEY = "ngx.token";
let askForToken = async () => false;

/** `ask()` resolves to true once the user gave a token; it is called when the server answers 401. */
export function onUnauthenticated(ask) {
  askForToken = ask;
}

/** Kept for this tab only. */
export function setToken(token) {
  sessionStorage.setItem(TOKEN_KEY, token);
}

async function call(method, path, { body, headers = {}, signal } = {}) {
  const response = await send(method, path, { body, headers, signal });
  if (response.status === 401 && (await askForToken())) return call(method, path, { body, headers, signal });
  if (!response.ok) throw await Problem.from(response);
  return response;
}

async function send(method, path, { body, headers, signal }) {
  const token = sessionStorage.getItem(TOKEN_KEY);
  const all = { ...headers };
  if (token) all.Authorization = `Bearer ${token}`;
  if (body !== undefined) all["Content-Type"] = "application/json";
  try {
    const response = await fetch(path, { method, headers: all, signal, body: body === undefined ? undefined : JSON.stringify(body) });
    showMode(response.headers.get("NGX-Mode"));
    return response;
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw Problem.offline();
  }
}

const json = async (...args) => (await call(...args)).json();
const at = (path, id, rest = "") => `/v1/${path}/${encodeURIComponent(id)}${rest}`;
const page = (path, cursor) => (cursor ? `${path}${path.includes("?") ? "&" : "?"}cursor=${encodeURIComponent(cursor)}` : path);

export const listConversations = (cursor) => json("GET", page("/v1/conversations", cursor));
export const createConversation = (title) => json("POST", "/v1/conversations", { body: { title } });
export const getConversation = (id) => json("GET", at("conversations", id));
export const deleteConversation = (id) => call("DELETE", at("conversations", id));
export const listMessages = (id, cursor) => json("GET", page(at("conversations", id, "/messages"), cursor));
export const getTurn = (id) => json("GET", at("turns", id));
export const cancelTurn = (id) => call("POST", at("turns", id, "/cancel"));
export const listAgents = () => json("GET", "/v1/agents");
export const getProfile = () => json("GET", "/v1/me/profile");
export const putProfile = (profile) => call("PUT", "/v1/me/profile", { body: profile });
export const listArtifacts = (cursor) => json("GET", page("/v1/me/artifacts", cursor));

/** The streamed response of a new turn. The same `key` again gives the same turn, never a second one. */
export function startTurn(conversationId, body, { key, signal }) {
  const headers = { Accept: "text/event-stream", "Idempotency-Key": key };
  return call("POST", at("conversations", conversationId, "/turns"), { body, headers, signal });
}

/** The streamed response of a turn that exists, from behind `lastId` on. */
export function turnEvents(turnId, { lastId, signal }) {
  const headers = { Accept: "text/event-stream" };
  if (lastId) headers["Last-Event-ID"] = lastId;
  return call("GET", at("turns", turnId, "/events"), { headers, signal });
}

/** All items of a paged list, at most `limit`. */
export async function everyItem(list, limit = 1000) {
  const items = [];
  let cursor;
  do {
    const part = await list(cursor);
    items.push(...part.items);
    cursor = part.next;
  } while (cursor && items.length < limit);
  return items;
}
