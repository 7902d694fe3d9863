/** Percentiles as numpy computes them, and the summary of a benchmark. */

const ENOUGH = 10;
const ENOUGH_FOR_P99 = 100;

/**
 * Return a percentile with linear interpolation between ranks.
 *
 * @param {number[]} values
 * @param {number} percent 0 to 100
 */
export function percentile(values, percent) {
  if (!values.length) throw new RangeError("no values");
  const sorted = [...values].sort((a, b) => a - b);
  const at = ((sorted.length - 1) * percent) / 100;
  const low = Math.floor(at);
  const high = Math.min(low + 1, sorted.length - 1);
  return sorted[low] + (sorted[high] - sorted[low]) * (at - low);
}

/**
 * Return the statistics of a run, milliseconds; no p90 for fewer than ten calls, no p99 for fewer than a hundred.
 *
 * @param {number[]} ms
 */
export function summary(ms) {
  const p50 = percentile(ms, 50);
  const third = Math.floor(ms.length / 3);
  const spread = p50 ? percentile(ms.map((value) => Math.abs(value - p50)), 50) / p50 : 0;
  const drift = third ? percentile(ms.slice(-third), 50) / percentile(ms.slice(0, third), 50) : 1;
  const warnings = [];
  if (ms.length < ENOUGH) warnings.push(`only ${ms.length} ${ms.length === 1 ? "call" : "calls"}`);
  if (spread > 0.1) warnings.push(`unstable: half of the calls are more than ${Math.round(spread * 100)}% off the median`);
  if (Math.abs(drift - 1) > 0.15) warnings.push(`drifting: the last third took ${drift.toFixed(2)} times the first third`);
  return {
    calls: ms.length,
    p50_ms: p50,
    p90_ms: ms.length >= ENOUGH ? percentile(ms, 90) : null,
    p99_ms: ms.length >= ENOUGH_FOR_P99 ? percentile(ms, 99) : null,
    min_ms: ms.reduce((a, b) => Math.min(a, b)),
    spread,
    drift,
    warnings,
  };
}

const IDENTICAL_DB = 999;

/**
 * Compare two pictures whose values lie in [-1, 1], as `edgekit verify` does; 999 dB stands for identical ones.
 *
 * @param {ArrayLike<number>} reference
 * @param {ArrayLike<number>} candidate
 */
export function parity(reference, candidate) {
  if (reference.length !== candidate.length) throw new RangeError("the pictures differ in size");
  let worst = 0;
  let sum = 0;
  for (let i = 0; i < reference.length; i++) {
    const off = reference[i] - candidate[i];
    worst = Math.max(worst, Math.abs(off)); // a NaN stays
    sum += off * off;
  }
  const mean = sum / reference.length;
  return { max_abs: worst, psnr_db: mean === 0 ? IDENTICAL_DB : 10 * Math.log10(4 / mean) };
}
