// Converts between Redis stream ids and offsets, which are the same number: `<generation>-<seq>` and
// `generation × 2³² + seq`.

const generationSize = 2 ** 32

/** The highest generation whose offsets are exact integers: enough for two million failovers. */
export const generationMax = 2 ** 21 - 1

/** The id `0-0` has offset 0, before all entries. */
export function offsetOf(id: string): number {
  const dash = id.indexOf('-')
  return Number(id.slice(0, dash)) * generationSize + Number(id.slice(dash + 1))
}

export function idOf(offset: number): string {
  return `${generationOf(offset)}-${offset % generationSize}`
}

/** The id that follows `id` by `count` places in the same generation. */
export function idBehind(id: string, count: number): string {
  return count === 0 ? id : idOf(offsetOf(id) + count)
}

export function generationOf(offset: number): number {
  return Math.floor(offset / generationSize)
}

/**
 * Whether `offset` certainly follows `previous` directly. The first offset of a new generation may, but its
 * number does not prove it.
 */
export function follows(offset: number, previous: number): boolean {
  return offset === previous + 1 && offset % generationSize !== 0
}
