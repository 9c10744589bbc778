// The stamp in the data of each publication: the round in which it was sent, and the time.

const mark = '@'.charCodeAt(0)
const zero = '0'.charCodeAt(0)
const roundDigits = 3
const timeDigits = 13
const stampBytes = 1 + roundDigits + timeDigits

/**
 * Returns a monotonic time in microseconds. Only times of the same process can be compared: the process that
 * publishes also receives.
 */
export function nowUs(): number {
  return Math.round(performance.now() * 1000)
}

/**
 * Returns data of `bytes` bytes, at least `stampBytes`, that begins with a stamp. It needs no escaping in
 * JSON.
 */
export function stamped(round: number, bytes: number): string {
  const digits =
    String(round % 10 ** roundDigits).padStart(roundDigits, '0') + String(nowUs()).padStart(timeDigits, '0')
  return `@${digits}`.padEnd(bytes, 'x')
}

/** Returns the send time in microseconds. Undefined when the frame has no stamp, or one of another round. */
export function readStamp(
  bytes: Buffer,
  { from, to, round }: { from: number; to: number; round: number },
): number | undefined {
  const at = bytes.indexOf(mark, from)
  if (at === -1 || at + stampBytes > to) return undefined
  const sentInRound = digitsAt(bytes, at + 1, roundDigits)
  if (sentInRound !== round % 10 ** roundDigits) return undefined
  return digitsAt(bytes, at + 1 + roundDigits, timeDigits)
}

function digitsAt(bytes: Buffer, start: number, count: number): number {
  let value = 0
  for (let at = start; at < start + count; at += 1) value = value * 10 + bytes.readUInt8(at) - zero
  return value
}
