// What is written into each publication: in which round it was sent, and when.

const mark = '@'.charCodeAt(0)
const zero = '0'.charCodeAt(0)
const roundDigits = 3
const timeDigits = 13
const stampBytes = 1 + roundDigits + timeDigits

/** Microseconds of one process: who sends is who receives. */
export function nowUs(): number {
  return Math.round(performance.now() * 1000)
}

/** `bytes` long, at least `stampBytes`. Needs no escapes in JSON. */
export function stamped(round: number, bytes: number): string {
  const digits =
    String(round % 10 ** roundDigits).padStart(roundDigits, '0') + String(nowUs()).padStart(timeDigits, '0')
  return `@${digits}`.padEnd(bytes, 'x')
}

/** When it was sent, if in that round; undefined for anything else. */
export function readStamp(
  bytes: Buffer,
  { from, to, round }: { from: number; to: number; round: number },
): number | undefined {
  const at = bytes.indexOf(mark, from)
  if (at === -1 || at + stampBytes > to) return undefined
  const sentIn = digitsAt(bytes, at + 1, roundDigits)
  if (sentIn !== round % 10 ** roundDigits) return undefined
  return digitsAt(bytes, at + 1 + roundDigits, timeDigits)
}

function digitsAt(bytes: Buffer, start: number, count: number): number {
  let value = 0
  for (let at = start; at < start + count; at += 1) value = value * 10 + bytes.readUInt8(at) - zero
  return value
}
