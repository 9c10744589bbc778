// Stores texts in this tab, so that they survive a reload. Where the browser forbids storage, nothing is
// stored and the page still works.

const prefix = 'parley:'

export function saveItem(key: string, value: string): void {
  try {
    sessionStorage.setItem(prefix + key, value)
  } catch {
    // Storage is forbidden or full: after a reload the user has to sign in again.
  }
}

export function loadItem(key: string): string | undefined {
  try {
    return sessionStorage.getItem(prefix + key) ?? undefined
  } catch {
    return undefined
  }
}

export function removeItem(key: string): void {
  try {
    sessionStorage.removeItem(prefix + key)
  } catch {
    // Storage is forbidden, so nothing was stored.
  }
}

/** Returns a stored list. Undefined when there is none, or when it cannot be parsed. */
export function loadList(key: string): readonly string[] | undefined {
  try {
    const value: unknown = JSON.parse(loadItem(key) ?? 'null')
    if (!Array.isArray(value)) return undefined
    return value.filter((item): item is string => typeof item === 'string')
  } catch {
    return undefined
  }
}

export function saveList(key: string, list: readonly string[]): void {
  saveItem(key, JSON.stringify(list))
}
