// What a process of ours has logged.

/** Lines that are JSON objects; the last may be half there. */
export function parsedLines(said: string): Record<string, unknown>[] {
  return said
    .split('\n')
    .slice(0, -1)
    .map(parseLine)
    .filter((line) => line !== undefined)
}

function parseLine(line: string): Record<string, unknown> | undefined {
  try {
    const parsed: unknown = JSON.parse(line)
    return typeof parsed === 'object' && parsed !== null ? (parsed as Record<string, unknown>) : undefined
  } catch {
    return undefined
  }
}
