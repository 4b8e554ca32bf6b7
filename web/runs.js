// Of which graph a run is that the server tells of, and what was reported of a graph's nodes. Does nothing by itself.
import { app } from "../../scripts/app.js";

const posted = new Map(); // id of a prompt -> the reports of the graph that it was made of, and what was noted of it
const reports = new WeakMap(); // workflow -> those of its graph
export let running = null; // id of the prompt that the server works on

const active = () => app.extensionManager?.workflow?.activeWorkflow ?? app;

// Notes of each prompt that this page posts what `note` tells of it, until it has ended.
export function watchRuns(note) {
  const { api } = app;
  const queuePrompt = api.queuePrompt;
  api.queuePrompt = async function (number, prompt, ...parameters) {
    const run = { reports: reportsNow() };
    try {
      run.noted = note(prompt.output);
    } catch (error) {
      console.warn(`wan22_turbo: nothing was noted of a prompt that is posted, ${error.message}`);
    }
    const answer = await queuePrompt.call(this, number, prompt, ...parameters);
    if (answer?.prompt_id) posted.set(answer.prompt_id, run);
    return answer;
  };
  api.addEventListener("execution_start", ({ detail }) => (running = detail.prompt_id));
  for (const end of ["execution_success", "execution_error", "execution_interrupted"]) {
    api.addEventListener(end, ({ detail }) => posted.delete(detail.prompt_id));
  }
  // Of others no end is heard: it came before the answer, or they were deleted, or lost with the server.
  api.addEventListener("status", ({ detail }) => detail?.exec_info?.queue_remaining === 0 && dropTheGone());
  // The ids of a cleared graph are given anew: its runs go on telling of what is gone. Within a subgraph the rest stays.
  api.addEventListener("graphCleared", () => (app.rootGraph ?? app.graph).nodes.length || reports.delete(active()));
}

function reportsNow() {
  const workflow = active();
  if (!reports.has(workflow)) reports.set(workflow, new Map());
  return reports.get(workflow);
}

// An empty queue holds none of them. It may be told after the answer to the next post: a prompt stays until it is told again.
function dropTheGone() {
  for (const [id, run] of posted) {
    if (run.gone) posted.delete(id);
    run.gone = true;
  }
}

// What was noted of a prompt; undefined of one that was posted before the page was opened, or by somebody else.
export const notedOf = (id) => posted.get(id)?.noted;

// The reports of the graph that a prompt was made of, else of the one that is open: by the ids of their nodes, { text, query }
// with the question that the node stood for, if that is known; null where a node has none, whatever ComfyUI keeps of it.
export const reportsOf = (id) => posted.get(id)?.reports ?? reportsNow();
