// Amounts: exact decimals as the API writes them, never a float where anything is added.

const SCALE = 18;

/** Add amounts exactly; null, which is unknown, adds nothing. */
export function addAmounts(amounts) {
  return write(amounts.reduce((sum, amount) => (amount === null ? sum : sum + read(amount)), 0n));
}

/** The difference of two amounts, exactly. */
export function subtractAmounts(amount, less) {
  return write(read(amount) - read(less));
}

/** Whether one amount is at least another. */
export function isAtLeast(amount, other) {
  return read(amount) >= read(other);
}

/** For drawing only. */
export function toNumber(amount) {
  return amount === null ? 0 : Number(amount);
}

/** What share of `whole` this is, 0 to 1; for drawing only. */
export function shareOf(amount, whole) {
  const total = toNumber(whole);
  return total <= 0 ? 0 : Math.max(0, Math.min(1, toNumber(amount) / total));
}

/** Write an amount for people: two decimals where that says enough, else up to the first two that count. */
export function showAmount(amount, currency = "USD") {
  if (amount === null || amount === undefined) return "unknown";
  const symbol = { USD: "$", EUR: "€", GBP: "£" }[currency] ?? `${currency} `;
  const sign = amount.startsWith("-") ? "−" : "";
  const [whole, fraction = ""] = amount.replace("-", "").split(".");
  const meaningful = fraction.replace(/0+$/, "");
  let places = 2;
  if (whole === "0" && meaningful !== "") {
    places = Math.max(2, Math.min(meaningful.length, /^0*/.exec(meaningful)[0].length + 3));
  }
  const shown = roundTo(amount.replace("-", ""), places);
  return `${sign}${symbol}${shown.replace(/^\d+/, (digits) => digits.replace(/\B(?=(\d{3})+$)/g, ","))}`;
}

/** Write a count with thousands apart. */
export function showCount(count) {
  return String(count).replace(/\B(?=(\d{3})+$)/g, ",");
}

/** Write a duration in milliseconds for people. */
export function showMilliseconds(milliseconds) {
  if (milliseconds === null) return "–";
  if (milliseconds < 1000) return `${Math.round(milliseconds)} ms`;
  if (milliseconds < 60_000) return `${(milliseconds / 1000).toFixed(1)} s`;
  return `${Math.floor(milliseconds / 60_000)} min ${Math.round((milliseconds % 60_000) / 1000)} s`;
}

/** Write "1 turn" or "2 turns". */
export function counted(count, one, many = `${one}s`) {
  return `${showCount(count)} ${count === 1 ? one : many}`;
}

/** Add up the usage of several turns or calls; those without any add nothing. */
export function addUsage(usages) {
  const given = usages.filter((usage) => usage !== null && usage !== undefined);
  const sum = (name) => given.reduce((total, usage) => total + (usage[name] ?? 0), 0);
  // Unknown is never 0: a sum of which nothing is known is not known.
  const isUnknown = given.length > 0 && given.every((usage) => usage.cost === null);
  return {
    input_tokens: sum("input_tokens"),
    cached_tokens: sum("cached_tokens"),
    output_tokens: sum("output_tokens"),
    reasoning_tokens: sum("reasoning_tokens"),
    unknown_count: sum("unknown_count"),
    cost: isUnknown ? null : addAmounts(given.map((usage) => usage.cost)),
    currency: given[0]?.currency ?? "USD",
  };
}

function read(amount) {
  const negative = amount.startsWith("-");
  const [whole, fraction = ""] = amount.replace("-", "").split(".");
  const value = BigInt(whole + fraction.slice(0, SCALE).padEnd(SCALE, "0"));
  return negative ? -value : value;
}

function write(value) {
  const digits = String(value < 0n ? -value : value).padStart(SCALE + 1, "0");
  const fraction = digits.slice(-SCALE).replace(/0+$/, "");
  return `${value < 0n ? "-" : ""}${digits.slice(0, -SCALE)}${fraction === "" ? "" : `.${fraction}`}`;
}

function roundTo(amount, places) {
  const unit = 10n ** BigInt(SCALE - places);
  const rounded = ((read(amount) + unit / 2n) / unit) * unit;
  const [whole, fraction = ""] = write(rounded).split(".");
  return places === 0 ? whole : `${whole}.${fraction.padEnd(places, "0")}`;
}
