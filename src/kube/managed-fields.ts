// Determines from a stored object whether a server-side apply would change it. The server records in
// `managedFields` which fields each manager applied.
import { isDeepStrictEqual } from 'node:util'
import { z } from 'zod'
import { isRecord, parseJson } from '../json.js'
import type { Desired } from './ports.js'
import type { ApiObject } from './object.js'

type Fields = Record<string, unknown>
const Fields = z.record(z.string(), z.unknown())

const Entry = z.looseObject({
  operation: z.literal('Apply'),
  apiVersion: z.string(),
  subresource: z.string().default(''),
  fieldsV1: Fields,
})

/**
 * Returns true when exactly `desired` is stored and was applied by this client. `known` comes from
 * `objectOf`, so its `managedFields` contain only the entries of this client. Returns false when the result
 * is uncertain, because an unnecessary apply changes nothing. The result is uncertain when a list item lacks
 * one of its key fields, or when the server normalizes a value (such as a quantity).
 */
export function isApplied(desired: Desired, known: ApiObject, subresource: '' | 'status'): boolean {
  const { uid } = desired.metadata
  if (uid !== undefined && uid !== known.metadata.uid) return false
  const entry = known.metadata.managedFields
    .map((field) => Entry.safeParse(field))
    .find(({ data }) => data?.apiVersion === known.apiVersion && data.subresource === subresource)?.data
  return entry !== undefined && matches(entry.fieldsV1, contentOf(desired, subresource), known)
}

/** Returns the fields of `desired` that a manager can own, which excludes the identity of the object. */
export function contentOf(desired: Desired, subresource: '' | 'status'): Fields {
  if (subresource === 'status') return { status: desired['status'] }
  const { apiVersion: _v, kind: _k, metadata, ...content } = desired
  const { name: _n, namespace: _ns, uid: _u, ...ownable } = metadata
  return Object.keys(ownable).length === 0 ? content : { ...content, metadata: ownable }
}

/** `fields` is the node of `fieldsV1` at the path of `desired` and `stored`. */
function matches(fields: Fields, desired: unknown, stored: unknown): boolean {
  const children = Object.keys(fields).filter((key) => key !== '.')
  if (children.length === 0) {
    // A lone `.` means that the manager owns the map or list itself and nothing in it. The server may omit an
    // empty one.
    if ('.' in fields || stored === undefined) return isEmpty(desired)
    return isDeepStrictEqual(withoutUndefined(desired), stored)
  }
  if (Array.isArray(desired)) return listMatches(fields, desired, stored)
  if (!isRecord(desired) || !isRecord(stored)) return false
  const present = Object.entries(desired).filter(([, value]) => value !== undefined)
  const unowned = present.filter(([key]) => !(`f:${key}` in fields))
  if (unowned.some(([key, value]) => !isEmpty(value) || !isEmpty(stored[key] ?? []))) return false
  return children.every((child) => {
    const key = child.slice('f:'.length)
    const node = Fields.safeParse(fields[child])
    return (
      child.startsWith('f:') &&
      node.success &&
      key in desired &&
      matches(node.data, desired[key], stored[key])
    )
  })
}

/**
 * Compares a list whose items have keys (`k:{"type":"Ready"}`) or are values of a set (`v:"a"`). All other
 * lists are leaves, which `matches` compares as one value.
 */
function listMatches(fields: Fields, desired: readonly unknown[], stored: unknown): boolean {
  if (!Array.isArray(stored)) return false
  const children = Object.keys(fields).filter((key) => key !== '.')
  if (children.length !== desired.length) return false
  return children.every((child) => {
    const key: unknown = parseJson(child.slice('k:'.length))
    const node = Fields.safeParse(fields[child])
    if (!node.success) return false
    if (child.startsWith('v:')) return desired.includes(key) && stored.includes(key)
    if (!child.startsWith('k:') || !isRecord(key)) return false
    const hasKey = (item: unknown) =>
      isRecord(item) && Object.entries(key).every(([name, value]) => isDeepStrictEqual(item[name], value))
    const desiredItem: unknown = desired.find(hasKey)
    return desiredItem !== undefined && matches(node.data, desiredItem, stored.find(hasKey))
  })
}

function isEmpty(value: unknown): boolean {
  return Array.isArray(value) ? value.length === 0 : isRecord(value) && Object.keys(value).length === 0
}

/** JSON has no undefined: such fields are not sent. */
function withoutUndefined(value: unknown): unknown {
  return value === undefined ? undefined : JSON.parse(JSON.stringify(value))
}
