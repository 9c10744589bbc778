// Objects one at a time: read, applied, created, deleted. Every write asks the guard at the last moment.
import { ApiError, isApiError } from './api-error.js'
import { contentOf, isApplied } from './managed-fields.js'
import type { ApiCall, ApiTransport } from './api-transport.js'
import type { ApplyOptions, Desired, ObjectApi, Selection } from './ports.js'
import { collectionPath, listAll, objectOf } from './list-pages.js'
import { apiVersionOf, fieldManager, type ApiObject, type ObjectName, type ResourceKind } from './object.js'

export interface KubeObjectsOptions {
  /** Called before each attempt of each write: throws when nothing may be written (`lease.assertLeading`). */
  readonly guard?: () => void
  /** Waits for nobody, and not for long: for the lease. Half of it is for one attempt: a connection that hangs is left in time. */
  readonly urgent?: { readonly deadlineMs: number }
}

export class KubeObjects implements ObjectApi {
  readonly #transport: ApiTransport
  readonly #options: KubeObjectsOptions

  constructor(transport: ApiTransport, options: KubeObjectsOptions = {}) {
    this.#transport = transport
    this.#options = options
  }

  async get(kind: ResourceKind, name: ObjectName): Promise<ApiObject> {
    return objectOf(kind, await this.#call({ method: 'GET', path: pathOf(kind, name) }))
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
    return this.#write(kind, {
      method: 'POST',
      path: `${collectionPath(kind, object.metadata.namespace)}?fieldManager=${fieldManager}`,
      body: named(kind, object),
    })
  }

  async update(kind: ResourceKind, object: Desired): Promise<ApiObject> {
    return this.#write(kind, {
      method: 'PUT',
      path: `${pathOf(kind, object.metadata)}?fieldManager=${fieldManager}`,
      body: named(kind, object),
    })
  }

  async delete(
    kind: ResourceKind,
    name: ObjectName,
    preconditions: { uid?: string; resourceVersion?: string } = {},
  ): Promise<void> {
    await this.#call({
      method: 'DELETE',
      path: pathOf(kind, name),
      body: { apiVersion: 'v1', kind: 'DeleteOptions', propagationPolicy: 'Background', preconditions },
      ...this.#guarded(),
    })
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
    const patched = this.#write(kind, {
      method: 'PATCH',
      path: `${pathOf(kind, desired.metadata)}${subresource && `/${subresource}`}?fieldManager=${fieldManager}&force=true`,
      // JSON is YAML. The library's default, and that of its object API, are patches that a server-side apply is not.
      contentType: 'application/apply-patch+yaml',
      body: { ...content, apiVersion: apiVersionOf(kind), kind: kind.kind, metadata },
    })
    return patched.catch((error: unknown) => {
      throw isApiError(error, 'Invalid') && error.causes.some(({ field }) => field === 'metadata.uid')
        ? recreated(error)
        : error
    })
  }

  async #write(kind: ResourceKind, call: ApiCall): Promise<ApiObject> {
    return objectOf(kind, await this.#call({ ...call, ...this.#guarded() }))
  }

  #guarded(): Partial<ApiCall> {
    const { guard } = this.#options
    return guard ? { beforeSend: guard } : {}
  }

  #call(call: ApiCall): Promise<unknown> {
    const { urgent } = this.#options
    if (!urgent) return this.#transport.call(call)
    const { deadlineMs } = urgent
    return this.#transport.call({ ...call, urgent: true, deadlineMs, attemptMs: Math.ceil(deadlineMs / 2) })
  }
}

function pathOf(kind: ResourceKind, { name, namespace }: ObjectName): string {
  return `${collectionPath(kind, namespace)}/${encodeURIComponent(name)}`
}

function named(kind: ResourceKind, object: Desired): object {
  return { ...object, apiVersion: apiVersionOf(kind), kind: kind.kind }
}

/** To the server another uid is an invalid change of a field; to everybody here it is an object that went away. */
function recreated({ message, causes }: ApiError): ApiError {
  return new ApiError(message, { code: 409, reason: 'Conflict', causes })
}
