// Finds facts in a token's verified content. It comes from outside: only own properties count, so that `constructor` is no claim.
import { isRecord } from '../json.js'

export type Claims = Readonly<Record<string, unknown>>

/** The claim at `path`: an exact top-level name wins (`https://acme.example/roles`), else dots descend (`realm_access.roles`). Undefined: there is none. */
export function claimAt(claims: Claims, path: string): unknown {
  if (Object.hasOwn(claims, path)) return claims[path]
  let value: unknown = claims
  for (const name of path.split('.')) {
    if (!isRecord(value) || !Object.hasOwn(value, name)) return undefined
    value = value[name]
  }
  return value
}

/** What a claim offers for comparison: strings as they are, finite numbers and booleans as text, an array's elements each. Empty: nothing comparable. */
export function claimTexts(value: unknown): string[] {
  return Array.isArray(value) ? value.flatMap(scalarTexts) : scalarTexts(value)
}

function scalarTexts(value: unknown): string[] {
  if (typeof value === 'string') return [value]
  if (typeof value === 'boolean' || Number.isFinite(value)) return [String(value)]
  return []
}
