// What the service is asked, with the token that stood in the address's fragment.
import { words } from "./words.js";

const KEPT = "edgecl-token";
let token = new URLSearchParams(location.hash.slice(1)).get("token") ?? sessionStorage.getItem(KEPT);
if (token) {
  sessionStorage.setItem(KEPT, token);
  history.replaceState(null, "", location.pathname);  // so that nobody reads it over a shoulder
}

export const setToken = (text) => { token = text; sessionStorage.setItem(KEPT, text); };

export class Refused extends Error {
  constructor(status, problem) {
    super([problem.detail ?? problem.cause ?? problem.title ?? `${status}`, problem.remedy].filter(Boolean).join(" "));
    this.status = status;
  }
}

export async function raw(method, path, body = undefined, type = "application/json") {
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  if (body !== undefined) headers["Content-Type"] = type;
  let answer;
  try {
    answer = await fetch(path, { method, headers, body, cache: "no-store" });
  } catch {
    throw new Refused(0, { detail: words.away });
  }
  if (!answer.ok) throw new Refused(answer.status, await answer.json().catch(() => ({})));
  return answer;
}

export const get = async (path) => (await raw("GET", path)).json();
export const post = async (path, about = {}) => (await raw("POST", path, JSON.stringify(about))).json();
export const send = async (path, picture) => (await raw("POST", path, picture, picture.type)).json();

// What a job's work gives.
export async function job(path, about = {}) {
  const { job: number } = await post(path, about);
  for (;;) {
    const found = await get(`/v1/jobs/${number}?wait=10`);
    if (found.state === "done") return found.result;
    if (found.state === "failed") throw new Refused(found.problem.status, found.problem);
  }
}

// A label as a query has it: text that looks like a number stays text.
export const labelQuery = (label) =>
  encodeURIComponent(typeof label === "number" ? `${label}` : /^-?\d{1,18}$|^".*"$/s.test(label) ? `"${label}"` : label);

// Save what `path` answers under the name that it gives.
export async function download(path) {
  const answer = await raw("GET", path);
  const name = /filename="([^"]+)"/.exec(answer.headers.get("Content-Disposition") ?? "")?.[1] ?? "edgecl";
  keep(name, await answer.blob());
}

export function keep(name, blob) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
