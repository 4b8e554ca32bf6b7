// Of which graph, and of which values, a run is that the server tells of. Does nothing by itself.
import { app } from "../../scripts/app.js";

const posted = new Map(); // id of a prompt -> the workflow that it was made of, and what was noted of it
export let running = null; // id of the prompt that the server works on

const active = () => app.extensionManager?.workflow?.activeWorkflow;

// Notes of each prompt that this page posts what `note` tells of it, until it has ended.
export function watchRuns(note) {
  const { api } = app;
  const queuePrompt = api.queuePrompt;
  api.queuePrompt = async function (number, prompt, ...parameters) {
    const run = { workflow: active(), noted: note(prompt.output) };
    const answer = await queuePrompt.call(this, number, prompt, ...parameters);
    posted.set(answer.prompt_id, run);
    return answer;
  };
  api.addEventListener("execution_start", ({ detail }) => (running = detail.prompt_id));
  for (const end of ["execution_success", "execution_error", "execution_interrupted"]) {
    api.addEventListener(end, ({ detail }) => posted.delete(detail.prompt_id));
  }
}

// What was noted of a prompt; undefined of one that was posted before the page was opened, or by somebody else.
export const notedOf = (id) => posted.get(id)?.noted;

// Says whether a prompt is of a graph in another tab of the frontend: its nodes are not those here.
export function isElsewhere(id) {
  const run = posted.get(id);
  return run !== undefined && run.workflow !== active();
}
