// The list of sessions, as its filter by cost leaves it: the service narrows down by everything else.

import { isAtLeast } from "./money.js";

/** The sessions that cost enough; those whose cost is not known yet are left out until it is. */
export function withCost({ items, costs, filter }) {
  if (filter.cost === "") return items;
  return items.filter((item) => costs[item.id]?.cost != null && isAtLeast(costs[item.id].cost, filter.cost));
}
