// Instants as the API server writes them.

/** RFC 3339 in whole seconds, as conditions bear it. */
export function timeText(epochMs: number): string {
  return `${new Date(epochMs).toISOString().slice(0, -'.000Z'.length)}Z`
}

/** MicroTime, as leases and events bear it: exactly six digits, which a Date does not have. */
export function microTimeText(epochMs: number): string {
  const micros = Math.floor((epochMs % 1) * 1000)
  return `${new Date(epochMs).toISOString().slice(0, -1)}${String(micros).padStart(3, '0')}Z`
}
