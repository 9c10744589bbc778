// Parses the log of a Parley process.

/** Returns the lines that are JSON objects. The last line is ignored, because it may be incomplete. */
export function parsedLines(output: string): Record<string, unknown>[] {
  return output
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
