// Tells which edits of a ChatTenant may take rights away, so that they are enforced before other work. The
// check is cheap and cautious: an edit of which it is not certain counts as one that does.
import { isRecord } from '../../json.js'
import type { ApiObject } from '../../kube/object.js'
import { isBeingDeleted, rotateAnnotation } from '../kinds.js'

/** Fields of the spec that do not limit what clients may do. */
const harmlessFields: ReadonlySet<string> = new Set([
  'contact',
  'credentials',
  'deletionPolicy',
  'displayName',
  'hostnames',
  'purgeAfter',
])
/** Lists whose entries grant something, so that an edit that only adds entries takes nothing away. */
const grantingLists: ReadonlySet<string> = new Set(['allowedOrigins', 'auth', 'channels'])

/**
 * Returns whether the change from `previous` to `current` may take rights away: a deletion, a suspension, a
 * removed or changed key, rule or grant, an added Deny, another quota or plan, or an immediate rotation of
 * keys. A new object takes nothing away.
 */
export function mayTakeRightsAway(previous: ApiObject | undefined, current: ApiObject | undefined): boolean {
  if (!previous) return false
  if (!current || current.metadata.uid !== previous.metadata.uid || isBeingDeleted(current)) return true
  if (rotationRequestOf(previous) !== rotationRequestOf(current)) return true
  // The server increments the generation with each change of the spec.
  if (previous.metadata.generation === current.metadata.generation) return false
  const [before, after] = [specOf(previous), specOf(current)]
  const fields = new Set([...Object.keys(before), ...Object.keys(after)])
  return [...fields].some(
    (field) => !harmlessFields.has(field) && mayRestrict(field, before[field], after[field]),
  )
}

/**
 * Returns whether the spec was edited since the controller last reported on it, and gateways may enforce an
 * earlier revision. A new leader has not seen the edit itself.
 */
export function isUnreportedEdit(object: ApiObject): boolean {
  const status = object['status']
  if (!isRecord(status) || status['revision'] === undefined) return false
  return isBeingDeleted(object) || status['observedGeneration'] !== object.metadata.generation
}

function mayRestrict(field: string, before: unknown, after: unknown): boolean {
  if (field === 'suspend') return after === true && before !== true
  if (!grantingLists.has(field)) return JSON.stringify(before) !== JSON.stringify(after)
  const [held, left] = [textsOf(before), textsOf(after)]
  const added = [...left].filter((text) => !held.has(text))
  return [...held].some((text) => !left.has(text)) || added.some((text) => text.includes('"Deny"'))
}

function textsOf(list: unknown): ReadonlySet<string> {
  return new Set(Array.isArray(list) ? list.map((entry) => JSON.stringify(entry)) : [])
}

function specOf(object: ApiObject): Record<string, unknown> {
  const spec = object['spec']
  return isRecord(spec) ? spec : {}
}

function rotationRequestOf({ metadata }: ApiObject): string | undefined {
  return metadata.annotations[rotateAnnotation]
}
