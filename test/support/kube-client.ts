// A client of the API server for tests, which can act as any user. It is independent of the client in
// src/kube, which is under test.
import { Agent, request, type RequestOptions } from 'node:https'

/** An object as the API server sends it. Tests know the fields that they read. */
export interface KubeObject {
  apiVersion?: string
  kind?: string
  metadata: { name: string; namespace?: string; [field: string]: unknown }
  // oxlint-disable-next-line typescript/no-explicit-any -- what a test reads of an object is asserted where it is read
  [field: string]: any
}

export interface KubeResponse {
  readonly status: number
  /** The object, the list, or the Status of a refusal. */
  readonly body: KubeObject
  /** The texts of the header `Warning`, such as unknown fields and deprecated versions. */
  readonly warnings: readonly string[]
}

/** The API server refused a call. */
export class KubeRefusal extends Error {
  override readonly name = 'KubeRefusal'
  readonly code: number
  readonly reason: string
  /** One entry for each problem. */
  readonly causes: readonly { field?: string; reason?: string; message?: string }[]

  constructor({ status, body }: KubeResponse) {
    super(String(body['message'] ?? `the API server responded with ${status}`))
    this.code = status
    this.reason = String(body['reason'] ?? '')
    this.causes = body['details']?.causes ?? []
  }
}

/** A kind, or one object of it, in a namespace or cluster-scoped. */
export interface KubeRef {
  readonly apiVersion: string
  readonly kind: string
  readonly namespace?: string
  readonly name?: string
}

interface Served {
  readonly plural: string
  readonly namespaced: boolean
}

export interface KubeAccess {
  readonly url: string
  readonly ca: string
  readonly token: string
}

export class KubeClient {
  readonly #access: KubeAccess
  readonly #agent: Agent
  readonly #headers: Readonly<Record<string, string | readonly string[]>>
  readonly #served: Map<string, Served>

  constructor(
    access: KubeAccess,
    shared: {
      agent?: Agent
      headers?: Readonly<Record<string, string | readonly string[]>>
      served?: Map<string, Served>
    } = {},
  ) {
    this.#access = access
    this.#agent = shared.agent ?? new Agent({ keepAlive: true, maxSockets: 16 })
    this.#headers = shared.headers ?? { Authorization: `Bearer ${access.token}` }
    this.#served = shared.served ?? new Map()
  }

  /** Returns a client that impersonates a user. It has the rights of that user and the groups only. */
  as(user: string, groups: readonly string[] = []): KubeClient {
    // A real user is always in this group too.
    const all = [...groups, 'system:authenticated']
    const headers = { ...this.#headers, 'Impersonate-User': user, 'Impersonate-Group': all }
    return new KubeClient(this.#access, { agent: this.#agent, headers, served: this.#served })
  }

  close(): void {
    this.#agent.destroy()
  }

  /**
   * Sends a request. `path` begins at the root. A string body is sent unchanged, any other as JSON. It
   * resolves for every HTTP status.
   */
  async request(
    method: string,
    path: string,
    { body, contentType = 'application/json' }: { body?: unknown; contentType?: string } = {},
  ): Promise<KubeResponse> {
    const options: RequestOptions = {
      method,
      ca: this.#access.ca,
      agent: this.#agent,
      headers: {
        ...this.#headers,
        Accept: 'application/json',
        ...(body !== undefined && { 'Content-Type': contentType }),
      },
      // A last resort for a server that hangs. The tests have shorter deadlines.
      timeout: 60_000,
    }
    return new Promise((resolve, reject) => {
      const sent = request(new URL(path, this.#access.url), options, (response) => {
        let text = ''
        response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk))
        response.on('error', reject)
        response.on('end', () => {
          const isJson = response.headers['content-type']?.includes('json') ?? false
          const { warning = '' } = response.headers
          resolve({
            status: response.statusCode ?? 0,
            body: isJson ? (JSON.parse(text) as KubeObject) : { metadata: { name: '' }, text },
            warnings: [...warning.matchAll(/299 - "((?:[^"\\]|\\.)*)"/g)].map(([, warned = '']) => warned),
          })
        })
      })
      sent.on('error', reject)
      sent.on('timeout', () =>
        sent.destroy(new Error(`the API server does not respond to ${method} ${path}`)),
      )
      if (body !== undefined) sent.write(typeof body === 'string' ? body : JSON.stringify(body))
      sent.end()
    })
  }

  /** Creates the object and rejects unknown fields. With `dryRun` nothing is stored. */
  async create(object: KubeObject, { dryRun = false } = {}): Promise<KubeObject> {
    const path = await this.pathOf({ ...refOf(object), name: '' })
    const query = `?fieldValidation=Strict&fieldManager=test${dryRun ? '&dryRun=All' : ''}`
    return this.#done(await this.request('POST', path + query, { body: object }))
  }

  /** Applies the object as `kubectl apply --server-side --force-conflicts` does. */
  async apply(
    object: KubeObject,
    { fieldManager = 'test', subresource = '' }: { fieldManager?: string; subresource?: string } = {},
  ): Promise<KubeObject> {
    const path = await this.pathOf(refOf(object), subresource)
    const query = `?fieldManager=${fieldManager}&force=true&fieldValidation=Strict`
    return this.#done(
      await this.request('PATCH', path + query, {
        body: object,
        contentType: 'application/apply-patch+yaml',
      }),
    )
  }

  async replace(object: KubeObject, { subresource = '' } = {}): Promise<KubeObject> {
    const path = await this.pathOf(refOf(object), subresource)
    return this.#done(await this.request('PUT', `${path}?fieldValidation=Strict`, { body: object }))
  }

  /** Applies a JSON merge patch. */
  async patch(ref: KubeRef, change: object, { subresource = '' } = {}): Promise<KubeObject> {
    const path = await this.pathOf(ref, subresource)
    const contentType = 'application/merge-patch+json'
    return this.#done(
      await this.request('PATCH', `${path}?fieldValidation=Strict`, { body: change, contentType }),
    )
  }

  async get(ref: KubeRef): Promise<KubeObject> {
    return this.#done(await this.request('GET', await this.pathOf(ref)))
  }

  /** Returns the object, or undefined when it does not exist. */
  async find(ref: KubeRef): Promise<KubeObject | undefined> {
    const answer = await this.request('GET', await this.pathOf(ref))
    return answer.status === 404 ? undefined : this.#done(answer)
  }

  /** Lists objects. `query` is URL-encoded, such as `fieldSelector=…`. */
  async list(ref: KubeRef, query = ''): Promise<KubeObject[]> {
    const path = await this.pathOf({ ...ref, name: '' })
    return this.#done(await this.request('GET', `${path}?${query}`))['items']
  }

  async delete(ref: KubeRef): Promise<void> {
    this.#done(await this.request('DELETE', await this.pathOf(ref)))
  }

  /**
   * Returns a path such as `/apis/parley.chat/v1alpha1/namespaces/demo/chattenants/acme`, by API discovery.
   */
  async pathOf({ apiVersion, kind, name = '', namespace }: KubeRef, subresource = ''): Promise<string> {
    const root = apiVersion.includes('/') ? `/apis/${apiVersion}` : `/api/${apiVersion}`
    const { namespaced, plural } = await this.#discover(root, kind)
    const place = namespaced && namespace !== undefined ? `/namespaces/${namespace}` : ''
    return [`${root}${place}/${plural}`, name, subresource].filter((part) => part !== '').join('/')
  }

  async #discover(root: string, kind: string): Promise<Served> {
    const known = this.#served.get(`${root} ${kind}`)
    if (known) return known
    const { resources = [] } = (await this.request('GET', root)).body as unknown as {
      resources?: { kind: string; name: string; namespaced: boolean }[]
    }
    for (const { kind: served, name, namespaced } of resources) {
      if (!name.includes('/')) this.#served.set(`${root} ${served}`, { plural: name, namespaced })
    }
    const found = this.#served.get(`${root} ${kind}`)
    if (!found) throw new Error(`the API server does not serve ${root} ${kind}`)
    return found
  }

  #done(answer: KubeResponse): KubeObject {
    if (answer.status >= 400) throw new KubeRefusal(answer)
    return answer.body
  }
}

/**
 * Returns the reference of an object. Its namespace is `default` unless it names one; cluster-scoped kinds
 * ignore it.
 */
function refOf(object: KubeObject): KubeRef {
  const { apiVersion = '', kind = '', metadata } = object
  return { apiVersion, kind, name: metadata.name, namespace: metadata.namespace ?? 'default' }
}
