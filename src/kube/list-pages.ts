// A complete list, page by page: all objects of one moment, or a rejection. Nobody ever sees half of it.
import { z } from 'zod'
import { ApiUnreachableError, isApiError } from './api-error.js'
import type { ApiTransport } from './api-transport.js'
import type { Selection } from './ports.js'
import { ApiObject, apiVersionOf, type ResourceKind } from './object.js'

export interface CompleteList {
  readonly items: ApiObject[]
  /** Of the moment: a watch goes on from here. */
  readonly resourceVersion: string
}

export interface ListOptions extends Selection {
  readonly signal?: AbortSignal | undefined
  /** Name, labels, owners and so on, without the content: the server never sends that. */
  readonly metadataOnly?: boolean | undefined
  /** Called after each page: it goes on. */
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
/** A server that never comes to an end is a server that lies. */
const pagesMax = 10_000
const startsMax = 3

/** Begins anew when the snapshot expires between pages (410); after the third time it is an Expired ApiError. */
export async function listAll(
  transport: ApiTransport,
  kind: ResourceKind,
  options: ListOptions = {},
): Promise<CompleteList> {
  for (let start = 1; ; start += 1) {
    try {
      return await listOnce(transport, kind, options)
    } catch (error) {
      if (start === startsMax || !isApiError(error, 'Expired', 'Gone')) throw error
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
      accept: acceptOf(options.metadataOnly, 'PartialObjectMetadataList'),
      ...(options.signal && { signal: options.signal }),
    })
    const list = List.safeParse(body)
    if (!list.success) throw new ApiUnreachableError(`the list of ${kind.plural} is no list`)
    for (const item of list.data.items ?? []) items.push(objectOf(kind, item))
    options.onPage?.()
    const { metadata } = list.data
    if (metadata.continue === '') return { items, resourceVersion: metadata.resourceVersion }
    if (seen.has(metadata.continue)) break
    seen.add(metadata.continue)
    next = metadata.continue
  }
  throw new ApiUnreachableError(`the list of ${kind.plural} does not end`)
}

/** `/apis/parley.chat/v1alpha1/namespaces/team-a/chattenants`. */
export function collectionPath(kind: ResourceKind, namespace?: string): string {
  const root = kind.group === '' ? '/api' : '/apis'
  const within =
    kind.namespaced && namespace !== undefined ? `/namespaces/${encodeURIComponent(namespace)}` : ''
  return `${root}/${apiVersionOf(kind)}${within}/${kind.plural}`
}

export function selectionQuery({ labelSelector, fieldSelector }: Selection): URLSearchParams {
  return new URLSearchParams({
    ...(labelSelector !== undefined && { labelSelector }),
    ...(fieldSelector !== undefined && { fieldSelector }),
  })
}

export function acceptOf(metadataOnly: boolean | undefined, as: string): string {
  return metadataOnly ? `application/json;as=${as};g=meta.k8s.io;v=v1` : 'application/json'
}

const Anonymous = z.looseObject({ apiVersion: z.string().optional(), kind: z.string().optional() })

/** The object as everybody here sees it, wherever it came from. Throws ApiUnreachableError when it is none. */
export function objectOf(kind: ResourceKind, raw: unknown): ApiObject {
  const parsed = Anonymous.safeParse(raw)
  // Items of a list bear no kind, metadata-only ones bear a kind of their own: it is known what was asked for.
  const named = parsed.success && { ...parsed.data, apiVersion: apiVersionOf(kind), kind: kind.kind }
  const object = ApiObject.safeParse(named)
  if (object.success) return object.data
  throw new ApiUnreachableError(`not an object of kind ${kind.kind}: ${z.prettifyError(object.error)}`)
}
