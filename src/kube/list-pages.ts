// Reads a complete list page by page. The result has all objects as of one moment; a partial list is never
// returned.
import { z } from 'zod'
import { ApiUnreachableError, isApiError } from './api-error.js'
import { watchPlace, type ApiTransport } from './api-transport.js'
import type { Selection } from './ports.js'
import { InternedFields } from './interned-fields.js'
import { ApiObject, apiVersionOf, type ResourceKind } from './object.js'

export interface CompleteList {
  readonly items: ApiObject[]
  /** The version of the list, from which a watch continues. */
  readonly resourceVersion: string
}

export interface ListOptions extends Selection {
  readonly signal?: AbortSignal | undefined
  /** Called after each page, as a sign of progress. */
  readonly onPage?: (() => void) | undefined
}

const List = z.object({
  metadata: z.object({
    resourceVersion: z.string().min(1),
    continue: z.string().default(''),
  }),
  items: z.array(z.unknown()).nullable(),
})

const pageSize = 500
/** The limit that ends a list when the server never stops sending pages. */
const pagesMax = 10_000
const attemptsMax = 3

/**
 * Lists all selected objects. Starts again when the snapshot expires between pages (HTTP 410). After three
 * attempts it rejects with the ApiError. Rejects with ApiUnreachableError when a response is malformed.
 */
export async function listAll(
  transport: ApiTransport,
  kind: ResourceKind,
  options: ListOptions = {},
): Promise<CompleteList> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await listOnce(transport, kind, options)
    } catch (error) {
      if (attempt === attemptsMax || !isApiError(error, 'Expired', 'Gone')) throw error
    }
  }
}

async function listOnce(
  transport: ApiTransport,
  kind: ResourceKind,
  options: ListOptions,
): Promise<CompleteList> {
  const items: ApiObject[] = []
  const seen = new Set<string>()
  let next = ''
  for (let page = 1; page <= pagesMax; page += 1) {
    const query = selectionQuery(options)
    query.set('limit', String(pageSize))
    if (next !== '') query.set('continue', next)
    const body = await transport.call({
      method: 'GET',
      path: `${collectionPath(kind, options.namespace)}?${query.toString()}`,
      place: watchPlace,
      ...(options.signal && { signal: options.signal }),
    })
    const list = List.safeParse(body)
    if (!list.success) throw new ApiUnreachableError(`the response to listing ${kind.plural} is not a list`)
    for (const item of list.data.items ?? []) items.push(objectOf(kind, item, transport.fieldManager))
    options.onPage?.()
    const { metadata } = list.data
    if (metadata.continue === '') return { items, resourceVersion: metadata.resourceVersion }
    if (seen.has(metadata.continue)) break
    seen.add(metadata.continue)
    next = metadata.continue
  }
  throw new ApiUnreachableError(`the list of ${kind.plural} does not end`)
}

/** Returns a path such as `/apis/apps/v1/namespaces/team-a/deployments`. */
export function collectionPath(kind: ResourceKind, namespace?: string): string {
  const root = kind.group === '' ? '/api' : '/apis'
  const within =
    kind.namespaced && namespace !== undefined ? `/namespaces/${encodeURIComponent(namespace)}` : ''
  return `${root}/${apiVersionOf(kind)}${within}/${kind.plural}`
}

/** Returns the query parameters of a selection. The namespace is in the path instead. */
export function selectionQuery({ labelSelector, fieldSelector }: Selection): URLSearchParams {
  return new URLSearchParams({
    ...(labelSelector !== undefined && { labelSelector }),
    ...(fieldSelector !== undefined && { fieldSelector }),
  })
}

const Untyped = z.looseObject({ apiVersion: z.string().optional(), kind: z.string().optional() })

/** Most objects of a kind have equal field sets, across all caches of the process. */
const fieldSets = new InternedFields()

/**
 * Parses an object that the server sent. It keeps only the entries of `fieldManager` in `managedFields`,
 * because the entries of other managers are most of an object's bytes and no consumer reads them. Throws
 * ApiUnreachableError when `raw` is not an object of the kind.
 */
export function objectOf(kind: ResourceKind, raw: unknown, fieldManager: string): ApiObject {
  const parsed = Untyped.safeParse(raw)
  // List items have no kind, so the kind is taken from the request.
  const typed = parsed.success && { ...parsed.data, apiVersion: apiVersionOf(kind), kind: kind.kind }
  const { data: object, error } = ApiObject.safeParse(typed)
  if (!object) throw new ApiUnreachableError(`not an object of kind ${kind.kind}: ${z.prettifyError(error)}`)
  const managedFields = object.metadata.managedFields
    .filter(({ manager }) => manager === fieldManager)
    .map((entry) => ({ ...entry, fieldsV1: fieldSets.intern(entry['fieldsV1']) }))
  return { ...object, metadata: { ...object.metadata, managedFields } }
}
