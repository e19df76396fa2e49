// Instants for people.

/** "just now", "4 min ago", "yesterday", then the date. */
export function ago(instant, now = Date.now()) {
  const then = Date.parse(instant);
  const seconds = Math.max(0, (now - then) / 1000);
  if (seconds < 45) return "just now";
  if (seconds < 3600) return `${Math.max(1, Math.round(seconds / 60))} min ago`;
  if (seconds < 86_400) return `${Math.round(seconds / 3600)} h ago`;
  if (seconds < 172_800) return "yesterday";
  const date = new Date(then);
  const isThisYear = date.getFullYear() === new Date(now).getFullYear();
  return date.toLocaleDateString("en-GB", { day: "numeric", month: "short", year: isThisYear ? undefined : "numeric" });
}

/** The whole instant, in the reader's time zone. */
export function exactly(instant) {
  return new Date(instant).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "medium" });
}

/** The time of day alone, where the date stands beside it. */
export function timeOfDay(instant) {
  return new Date(instant).toLocaleTimeString("en-GB");
}

/** The beginning of the time that a filter of the list names; undefined for any time. */
export function sinceOf(period, now = Date.now()) {
  const hours = { hour: 1, day: 24, week: 168, month: 720 }[period];
  return hours === undefined ? undefined : new Date(now - hours * 3_600_000).toISOString();
}
