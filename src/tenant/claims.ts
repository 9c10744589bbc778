// Reads claims out of a verified token. The content comes from outside, so only own properties count:
// `constructor` is not a claim.
import { isRecord } from '../json.js'

/** The verified payload of a token. */
export type Claims = Readonly<Record<string, unknown>>

/**
 * The largest `info` of a client, in bytes of JSON: other clients receive it with every message, join and
 * list of members.
 */
export const infoBytesMax = 1_024

/**
 * Returns the claim at `path`, or undefined when there is none. An exact top-level name takes precedence
 * (`https://acme.example/roles`); otherwise a dot selects a field of an object (`realm_access.roles`).
 */
export function claimAt(claims: Claims, path: string): unknown {
  if (Object.hasOwn(claims, path)) return claims[path]
  let value: unknown = claims
  for (const name of path.split('.')) {
    if (!isRecord(value) || !Object.hasOwn(value, name)) return undefined
    value = value[name]
  }
  return value
}

/**
 * Returns the texts that a claim is compared by: a string as it is, a finite number or a boolean as text, and
 * the texts of each element of an array. Returns an empty array when nothing in the claim can be compared.
 */
export function claimTexts(value: unknown): string[] {
  return Array.isArray(value) ? value.flatMap(scalarTexts) : scalarTexts(value)
}

function scalarTexts(value: unknown): string[] {
  if (typeof value === 'string') return [value]
  if (typeof value === 'boolean' || Number.isFinite(value)) return [String(value)]
  return []
}
