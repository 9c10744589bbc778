// What this tab remembers over a reload. A browser may forbid storage; then the tab forgets, and all else works.

const prefix = 'parley:'

export function remember(key: string, value: string): void {
  try {
    sessionStorage.setItem(prefix + key, value)
  } catch {
    // Forbidden or full: a reload will ask again.
  }
}

export function recall(key: string): string | undefined {
  try {
    return sessionStorage.getItem(prefix + key) ?? undefined
  } catch {
    return undefined
  }
}

export function forget(key: string): void {
  try {
    sessionStorage.removeItem(prefix + key)
  } catch {
    // Nothing was kept.
  }
}

/** A list of strings, or undefined when there is none that can be read. */
export function recallList(key: string): readonly string[] | undefined {
  try {
    const value: unknown = JSON.parse(recall(key) ?? 'null')
    if (!Array.isArray(value)) return undefined
    return value.filter((one): one is string => typeof one === 'string')
  } catch {
    return undefined
  }
}

export function rememberList(key: string, list: readonly string[]): void {
  remember(key, JSON.stringify(list))
}
