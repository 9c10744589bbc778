// Creates deltas in Fossil's format, which Centrifuge's clients apply to the previous publication. The common
// beginning and end are copied and the rest is inserted, so that the time is linear for any data
// (docs/decisions/0009-own-deltas.md).

/** Largest overhead of a delta in the frame, in bytes: `"delta":true,` and an escaped line break. */
const overheadBytes = 16

const digits = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz~'

/**
 * Returns the delta that turns `from` into `to`. Both are UTF-8, and so is the delta. Returns undefined when
 * the delta would not be smaller than `to`.
 */
export function createFossilDelta(from: Uint8Array, to: Uint8Array): Uint8Array | undefined {
  const shorter = Math.min(from.byteLength, to.byteLength)
  let head = 0
  while (head < shorter && from[head] === to[head]) head += 1
  while (isInsideCharacter(to, head)) head -= 1

  let tail = 0
  while (tail < shorter - head && from[from.byteLength - tail - 1] === to[to.byteLength - tail - 1]) tail += 1
  while (isInsideCharacter(to, to.byteLength - tail)) tail -= 1

  if (head + tail <= overheadBytes) return undefined
  const inserted = to.subarray(head, to.byteLength - tail)
  const before = `${number(to.byteLength)}\n${copy(head, 0)}${inserted.byteLength > 0 ? `${number(inserted.byteLength)}:` : ''}`
  const after = `${copy(tail, from.byteLength - tail)}${number(checksum(to))};`
  if (before.length + inserted.byteLength + after.length + overheadBytes >= to.byteLength) return undefined
  return Buffer.concat([Buffer.from(before), inserted, Buffer.from(after)])
}

function copy(length: number, offset: number): string {
  return length > 0 ? `${number(length)}@${number(offset)},` : ''
}

/** Encodes a number in base 64 with Fossil's digits, without leading zeros. */
function number(value: number): string {
  let text = ''
  let rest = value
  do {
    text = digits.charAt(rest % 64) + text
    rest = Math.floor(rest / 64)
  } while (rest > 0)
  return text
}

/** Returns the sum of all 32-bit big-endian words, the last one padded with zeros. */
function checksum(bytes: Uint8Array): number {
  const words = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const inWords = bytes.byteLength - (bytes.byteLength % 4)
  let sum = 0
  for (let at = 0; at < inWords; at += 4) sum = (sum + words.getUint32(at)) >>> 0
  for (let at = inWords; at < bytes.byteLength; at += 1)
    sum = (sum + (words.getUint8(at) << (24 - 8 * (at % 4)))) >>> 0
  return sum
}

/** True when the byte at `at` continues a UTF-8 character. */
function isInsideCharacter(text: Uint8Array, at: number): boolean {
  const byte = text[at]
  return byte !== undefined && (byte & 0xc0) === 0x80
}
