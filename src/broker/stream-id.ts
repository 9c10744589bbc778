// Converts between Redis stream ids and offsets, which are the same number: `<generation>-<seq>` and
// `generation × 2³² + seq`.
import { generationSize } from './broker.js'

/** The highest generation whose offsets are exact integers: enough for two million failovers. */
export const generationMax = 2 ** 21 - 1

/** Returns the offset of a stream id. The id `0-0` has offset 0, before all entries. */
export function offsetOf(id: string): number {
  const dash = id.indexOf('-')
  return Number(id.slice(0, dash)) * generationSize + Number(id.slice(dash + 1))
}

/** Returns the stream id of an offset. */
export function idOf(offset: number): string {
  return `${generationOf(offset)}-${offset % generationSize}`
}

/** Returns the id that is `count` places after `id` in the same generation. */
export function idBehind(id: string, count: number): string {
  return count === 0 ? id : idOf(offsetOf(id) + count)
}

/** Returns the generation that an offset belongs to. */
export function generationOf(offset: number): number {
  return Math.floor(offset / generationSize)
}

/**
 * Returns whether `offset` is certainly the direct successor of `previous`. For the first offset of a
 * generation this is false: it may follow directly, but its number does not prove that.
 */
export function follows(offset: number, previous: number): boolean {
  return offset === previous + 1 && offset % generationSize !== 0
}
