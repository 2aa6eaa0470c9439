// Numbers and times as people read them.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

export const NONE = "–";
export const count = (n) => (n === null || n === undefined ? NONE : n < 100000 ? whole.format(n) : short.format(n));
export const percent = (share) => (share === null || share === undefined ? NONE : `${Math.round(share * 100)} %`);
export const rate = (n) => (n >= 10 ? whole.format(n) : n.toFixed(1));
export const clock = (unix) => new Date(unix * 1000).toLocaleTimeString("en-GB");
export const day = (unix) => new Date(unix * 1000).toISOString().slice(0, 10);

export function bytes(n) {
  if (n === null || n === undefined) return NONE;
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  const step = n < 1 ? 0 : Math.min(units.length - 1, Math.floor(Math.log2(n) / 10));
  const value = n / 2 ** (10 * step);
  return `${value >= 10 || step === 0 ? whole.format(value) : value.toFixed(1)} ${units[step]}`;
}

export function ms(n) {
  if (n === null || n === undefined) return NONE;
  return n < 1000 ? `${Math.round(n)} ms` : seconds(n / 1000);
}

export function seconds(n) {
  if (n === null || n === undefined) return NONE;
  if (n < 10) return `${n.toFixed(1)} s`;
  if (n < 120) return `${Math.round(n)} s`;
  if (n < 7200) return `${Math.round(n / 60)} min`;
  return n < 172800 ? `${Math.round(n / 3600)} h` : `${Math.round(n / 86400)} days`;
}

/** Why an instance's part in an answer ended, in words (docs/migration.md). */
export function cause(word) {
  const words = { end: "finished", reset: "it died", stall: "it fell silent", drain: "it drains", busy: "its queue was full", connect: "it cannot be reached" };
  return words[word] ?? word;
}
