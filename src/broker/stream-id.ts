// Redis stream ids and our offsets are one number in two spellings: `<generation>-<seq>` and `generation × 2³² + seq`.

const generationSize = 2 ** 32

/** Highest id with an exact offset: two million failovers. */
export const generationMax = 2 ** 21 - 1

/** Offset 0 is `0-0`: before all entries. */
export function offsetOf(id: string): number {
  const dash = id.indexOf('-')
  return Number(id.slice(0, dash)) * generationSize + Number(id.slice(dash + 1))
}

export function idOf(offset: number): string {
  return `${generationOf(offset)}-${offset % generationSize}`
}

/** `nth` ids behind `id`, where none is missing. */
export function idBehind(id: string, nth: number): string {
  return nth === 0 ? id : idOf(offsetOf(id) + nth)
}

export function generationOf(offset: number): number {
  return Math.floor(offset / generationSize)
}

/** Does `offset` follow `previous` with nothing between them, for certain? The first of a new generation may, but its number does not prove it. */
export function follows(offset: number, previous: number): boolean {
  return offset === previous + 1 && offset % generationSize !== 0
}
