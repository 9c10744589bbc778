// Whether applying would change anything, told from what is stored: the server notes in `managedFields` which fields each manager applied.
import { isDeepStrictEqual } from 'node:util'
import { z } from 'zod'
import { isRecord, parseJson } from '../json.js'
import type { Desired } from './ports.js'
import { fieldManager, type ApiObject } from './object.js'

type Fields = Record<string, unknown>
const Fields = z.record(z.string(), z.unknown())

const Entry = z.looseObject({
  manager: z.literal(fieldManager),
  operation: z.literal('Apply'),
  apiVersion: z.string(),
  subresource: z.string().default(''),
  fieldsV1: Fields,
})

/**
 * All of `desired` is stored as it is, and was applied by us, and nothing besides was. In doubt false: a write too many changes nothing.
 * In doubt means also: a list item without all of its key fields, or a value that the server stores in other words (a quantity).
 */
export function isApplied(desired: Desired, known: ApiObject, subresource: '' | 'status'): boolean {
  const { uid } = desired.metadata
  if (uid !== undefined && uid !== known.metadata.uid) return false
  const entry = known.metadata.managedFields
    .map((field) => Entry.safeParse(field))
    .find(({ data }) => data?.apiVersion === known.apiVersion && data.subresource === subresource)?.data
  return entry !== undefined && matches(entry.fieldsV1, contentOf(desired, subresource), known)
}

/** What counts of it: identity is no field that anybody owns. */
export function contentOf(desired: Desired, subresource: '' | 'status'): Fields {
  if (subresource === 'status') return { status: desired['status'] }
  const { apiVersion: _v, kind: _k, metadata, ...content } = desired
  const { name: _n, namespace: _ns, uid: _u, ...ours } = metadata
  return Object.keys(ours).length === 0 ? content : { ...content, metadata: ours }
}

/** `fields` is the node of fieldsV1 for the place where `desired` and `stored` are. */
function matches(fields: Fields, desired: unknown, stored: unknown): boolean {
  const children = Object.keys(fields).filter((key) => key !== '.')
  if (children.length === 0) {
    // `.` alone: the map or list is ours, and nothing in it. What is empty may not be stored at all.
    if ('.' in fields || stored === undefined) return isEmpty(desired)
    return isDeepStrictEqual(withoutUndefined(desired), stored)
  }
  if (Array.isArray(desired)) return listMatches(fields, desired, stored)
  if (!isRecord(desired) || !isRecord(stored)) return false
  const wanted = Object.entries(desired).filter(([, value]) => value !== undefined)
  const missing = wanted.filter(([key]) => !(`f:${key}` in fields))
  if (missing.some(([key, value]) => !isEmpty(value) || !isEmpty(stored[key] ?? []))) return false
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

/** Lists whose items have keys (`k:{"type":"Ready"}`) or are values of a set (`v:"a"`); all others are leaves. */
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
    const bearsKey = (item: unknown) =>
      isRecord(item) && Object.entries(key).every(([name, value]) => isDeepStrictEqual(item[name], value))
    const wanted: unknown = desired.find(bearsKey)
    return wanted !== undefined && matches(node.data, wanted, stored.find(bearsKey))
  })
}

function isEmpty(value: unknown): boolean {
  return Array.isArray(value) ? value.length === 0 : isRecord(value) && Object.keys(value).length === 0
}

/** JSON has none: what is undefined is not sent. */
function withoutUndefined(value: unknown): unknown {
  return value === undefined ? undefined : JSON.parse(JSON.stringify(value))
}
