// Formats instants as the API server does.

/** Returns RFC 3339 text in whole seconds, as used in conditions. */
export function timestamp(epochMs: number): string {
  return `${new Date(epochMs).toISOString().slice(0, -'.000Z'.length)}Z`
}

/**
 * Returns a MicroTime, as used in leases and events: RFC 3339 with exactly six decimals, which a Date does
 * not have.
 */
export function microTimestamp(epochMs: number): string {
  const micros = Math.floor((epochMs % 1) * 1000)
  return `${new Date(epochMs).toISOString().slice(0, -1)}${String(micros).padStart(3, '0')}Z`
}
