// The states of a job as the service has them: which there are, and what may be asked in each.

import { ask } from "./api.js";

let table = new Map();

/** Asks the service, once it can be asked; what follows is answered from that. */
export async function learnStates() {
  if (table.size) return;
  const { states } = await ask("/v1/states");
  table = new Map(states.map((one) => [one.state, one]));
}

export const stateNames = () => [...table.keys()];
/** A worker has it. */
export const isHeld = (state) => table.get(state)?.held ?? false;
/** More happens to it, though nobody asks. */
export const isMoving = (state) => !(table.get(state)?.ended ?? true);
export const verbs = (state) => table.get(state)?.verbs ?? [];
