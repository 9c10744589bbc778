// Finds a smaller input that fails too.
import type { FuzzInput } from './input.js'

const triesMax = 200

/** Removes parts, and pieces of parts, as long as the input still fails. Tries at most 200 inputs. */
export async function reduced(
  input: FuzzInput,
  stillFails: (input: FuzzInput) => Promise<boolean>,
): Promise<FuzzInput> {
  let { parts } = input
  let tries = 0
  const accept = async (smaller: readonly Buffer[]): Promise<boolean> => {
    tries += 1
    if (tries > triesMax || !(await stillFails({ ...input, parts: smaller }))) return false
    parts = smaller
    return true
  }
  for (let at = parts.length - 1; at >= 0; at -= 1) await accept(parts.toSpliced(at, 1))
  for (let at = 0; at < parts.length; at += 1) {
    for (let size = Math.ceil(lengthOf(parts, at) / 2); size >= 1; size = Math.floor(size / 2)) {
      for (let from = 0; from < lengthOf(parts, at);) {
        const part = parts[at] ?? Buffer.alloc(0)
        const shorter = Buffer.concat([part.subarray(0, from), part.subarray(from + size)])
        if (!(await accept(parts.with(at, shorter)))) from += size
      }
    }
  }
  return { ...input, parts }
}

function lengthOf(parts: readonly Buffer[], at: number): number {
  return parts[at]?.length ?? 0
}
