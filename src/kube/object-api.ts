// Reads, applies, creates, replaces and deletes single objects. Each attempt of a write calls the guard
// first.
import { ApiError, isApiError } from './api-error.js'
import type { Priority } from './fair-queue.js'
import { contentOf, isApplied } from './managed-fields.js'
import type { ApiCall, ApiTransport } from './api-transport.js'
import type { ApplyOptions, Desired, ObjectApi, Selection } from './ports.js'
import { collectionPath, listAll, objectOf } from './list-pages.js'
import { apiVersionOf, type ApiObject, type ObjectKey, type ResourceKind } from './object.js'

export interface KubeObjectApiOptions {
  /**
   * Called before each attempt of each write. It throws when nothing may be written, as `lease.assertLeading`
   * does. Default: writes are never refused.
   */
  readonly guard?: () => void
  /**
   * The priority in which calls wait in the throttle. Within a priority, calls for different namespaces take
   * turns. Default `normal`.
   */
  readonly priority?: Priority
  /**
   * Makes every call skip the throttle's queue and fail after `deadlineMs`. It is intended for leader
   * election. One attempt gets half of the deadline, so that a call can abandon a hanging connection in time.
   * Default: calls wait in the queue.
   */
  readonly unthrottled?: { readonly deadlineMs: number }
}

export class KubeObjectApi implements ObjectApi {
  readonly #transport: ApiTransport
  readonly #options: KubeObjectApiOptions

  constructor(transport: ApiTransport, options: KubeObjectApiOptions = {}) {
    this.#transport = transport
    this.#options = options
  }

  async get(kind: ResourceKind, key: ObjectKey): Promise<ApiObject> {
    return this.#objectOf(kind, await this.#call(key, { method: 'GET', path: pathOf(kind, key) }))
  }

  async list(kind: ResourceKind, options: Selection = {}): Promise<ApiObject[]> {
    return (await listAll(this.#transport, kind, options)).items
  }

  apply(kind: ResourceKind, desired: Desired, options: ApplyOptions = {}): Promise<ApiObject> {
    return this.#apply(kind, desired, { ...options, subresource: '' })
  }

  applyStatus(kind: ResourceKind, desired: Desired, options: ApplyOptions = {}): Promise<ApiObject> {
    return this.#apply(kind, desired, { ...options, subresource: 'status' })
  }

  async create(kind: ResourceKind, object: Desired): Promise<ApiObject> {
    return this.#write(kind, object.metadata, {
      method: 'POST',
      path: `${collectionPath(kind, object.metadata.namespace)}?fieldManager=${this.#fieldManager}`,
      body: withKind(kind, object),
    })
  }

  async update(kind: ResourceKind, object: Desired): Promise<ApiObject> {
    return this.#write(kind, object.metadata, {
      method: 'PUT',
      path: `${pathOf(kind, object.metadata)}?fieldManager=${this.#fieldManager}`,
      body: withKind(kind, object),
    })
  }

  async delete(
    kind: ResourceKind,
    key: ObjectKey,
    preconditions: { uid?: string; resourceVersion?: string } = {},
  ): Promise<void> {
    await this.#call(key, {
      method: 'DELETE',
      path: pathOf(kind, key),
      body: { apiVersion: 'v1', kind: 'DeleteOptions', propagationPolicy: 'Background', preconditions },
      ...this.#guarded(),
    })
  }

  get #fieldManager(): string {
    return encodeURIComponent(this.#transport.fieldManager)
  }

  async #apply(
    kind: ResourceKind,
    desired: Desired,
    { known, subresource }: ApplyOptions & { subresource: '' | 'status' },
  ): Promise<ApiObject> {
    if (known && isApplied(desired, known, subresource)) return known
    const { name, namespace, uid } = desired.metadata
    const content = contentOf(desired, subresource)
    const metadata = { ...(subresource === '' && desired.metadata), name, namespace, uid }
    const path = `${pathOf(kind, desired.metadata)}${subresource && `/${subresource}`}`
    const patched = this.#write(kind, desired.metadata, {
      method: 'PATCH',
      path: `${path}?fieldManager=${this.#fieldManager}&force=true`,
      // JSON is valid YAML. Other content types select a merge patch, which is not a server-side apply.
      contentType: 'application/apply-patch+yaml',
      body: { ...content, apiVersion: apiVersionOf(kind), kind: kind.kind, metadata },
    })
    return patched.catch((error: unknown) => {
      throw isApiError(error, 'Invalid') && error.causes.some(({ field }) => field === 'metadata.uid')
        ? conflictOf(error)
        : error
    })
  }

  async #write(kind: ResourceKind, key: ObjectKey, call: ApiCall): Promise<ApiObject> {
    return this.#objectOf(kind, await this.#call(key, { ...call, ...this.#guarded() }))
  }

  #objectOf(kind: ResourceKind, raw: unknown): ApiObject {
    return objectOf(kind, raw, this.#transport.fieldManager)
  }

  #guarded(): Partial<ApiCall> {
    const { guard } = this.#options
    return guard ? { beforeSend: guard } : {}
  }

  #call({ namespace = '' }: ObjectKey, call: ApiCall): Promise<unknown> {
    const { priority = 'normal', unthrottled } = this.#options
    if (!unthrottled) return this.#transport.call({ ...call, place: { priority, group: namespace } })
    const { deadlineMs } = unthrottled
    const attemptMs = Math.ceil(deadlineMs / 2)
    return this.#transport.call({ ...call, unthrottled: true, deadlineMs, attemptMs })
  }
}

function pathOf(kind: ResourceKind, { name, namespace }: ObjectKey): string {
  return `${collectionPath(kind, namespace)}/${encodeURIComponent(name)}`
}

function withKind(kind: ResourceKind, object: Desired): object {
  return { ...object, apiVersion: apiVersionOf(kind), kind: kind.kind }
}

/**
 * The server reports a different uid as an invalid change of a field. To callers it means that the object was
 * deleted and recreated, which is a Conflict.
 */
function conflictOf({ message, causes }: ApiError): ApiError {
  return new ApiError(message, { code: 409, reason: 'Conflict', causes })
}
