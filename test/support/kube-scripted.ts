// A scripted API server: it can refuse calls, send malformed responses, fall silent and cut connections. It
// is a real HTTP server on loopback.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { KubeConfig } from '@kubernetes/client-node'
import { KubeConfigTarget } from '../../src/kube/api-target.js'
import { ApiTransport, type TransportOptions } from '../../src/kube/api-transport.js'
import { Arrivals } from './waiting.js'

/** A request that the server received. */
export interface RecordedRequest {
  readonly kind: 'list' | 'watch' | 'get' | 'write'
  readonly method: string
  readonly path: string
  readonly query: URLSearchParams
  readonly headers: IncomingMessage['headers']
  readonly body: string
}

/** One request, which the test responds to or leaves without a response. */
export class Exchange {
  readonly request: RecordedRequest
  readonly response: ServerResponse
  /** Resolves when the connection is closed. */
  readonly closed: Promise<void>

  constructor(recorded: RecordedRequest, response: ServerResponse) {
    this.request = recorded
    this.response = response
    this.closed = new Promise((resolve) => response.on('close', resolve))
  }

  json(code: number, body: unknown, headers: Record<string, string> = {}): void {
    this.response.writeHead(code, { 'content-type': 'application/json', ...headers })
    this.response.end(JSON.stringify(body))
  }

  status(code: number, reason: string, headers: Record<string, string> = {}): void {
    this.json(code, statusOf(code, reason), headers)
  }

  /** Sends a page of a list. An empty `next` marks the last page. */
  list(items: readonly object[], { resourceVersion = '100', next = '' } = {}): void {
    this.json(200, { kind: 'ThingList', metadata: { resourceVersion, continue: next }, items })
  }

  /** Sends the headers of a watch. Events or raw text may follow. */
  stream(): this {
    this.response.writeHead(200, { 'content-type': 'application/json' })
    this.response.flushHeaders()
    return this
  }

  event(type: string, object: object): this {
    return this.raw(`${JSON.stringify({ type, object })}\n`)
  }

  raw(text: string): this {
    this.response.write(text)
    return this
  }

  /** Ends the response normally. */
  end(): void {
    this.response.end()
  }

  /** Closes the connection in the middle of the response. */
  cut(): void {
    this.response.destroy()
  }
}

export function statusOf(code: number, reason: string): object {
  return { kind: 'Status', apiVersion: 'v1', status: 'Failure', code, reason, message: `${reason} by script` }
}

/** An object of the kind `things`. */
export function thing(name: string, metadata: object = {}, content: object = {}): object {
  return {
    metadata: { name, namespace: 'default', uid: `uid-${name}`, resourceVersion: '1', ...metadata },
    ...content,
  }
}

export const things = {
  group: 'parley.chat',
  version: 'v1alpha1',
  plural: 'things',
  kind: 'Thing',
  namespaced: true,
} as const

type Responder = (exchange: Exchange) => void

export class ScriptedKube {
  readonly requests: RecordedRequest[] = []
  /** Watches without a script. They are open and silent, and the test sends through them. */
  readonly watches = new Arrivals<Exchange>('a watch')
  /** Gets and writes without a script. The test responds to them. */
  readonly held = new Arrivals<Exchange>('a call')
  connections = 0
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  readonly #scripts = { list: [], watch: [], get: [], write: [] } as Record<
    RecordedRequest['kind'],
    Responder[]
  >
  readonly #always: Partial<Record<RecordedRequest['kind'], Responder>> = {}

  private constructor() {
    this.#server = createServer((request, response) => this.#handle(request, response))
    // Only the client closes idle connections.
    this.#server.keepAliveTimeout = 0
    this.#server.on('connection', (socket) => {
      this.connections += 1
      this.#sockets.add(socket)
      socket.on('close', () => this.#sockets.delete(socket))
      socket.on('error', () => {})
    })
  }

  static async start(): Promise<ScriptedKube> {
    const kube = new ScriptedKube()
    await new Promise<void>((resolve) => kube.#server.listen(0, '127.0.0.1', resolve))
    return kube
  }

  get url(): string {
    const { port } = this.#server.address() as AddressInfo
    return `http://127.0.0.1:${port}`
  }

  get openConnections(): number {
    return this.#sockets.size
  }

  count(kind: RecordedRequest['kind']): number {
    return this.requests.filter((recorded) => recorded.kind === kind).length
  }

  /** Sets the responses to the next calls of that kind, one for each call. */
  script(kind: RecordedRequest['kind'], ...responders: Responder[]): void {
    this.#scripts[kind].push(...responders)
  }

  /** Sets the response to all calls of that kind that have no script. */
  always(kind: RecordedRequest['kind'], respond: Responder): void {
    this.#always[kind] = respond
  }

  kubeConfig(user: object = {}): KubeConfig {
    const config = new KubeConfig()
    config.loadFromClusterAndUser(
      { name: 'scripted', server: this.url, skipTLSVerify: true },
      { name: 'tester', ...user },
    )
    return config
  }

  transport(options: Partial<TransportOptions> = {}): ApiTransport {
    return new ApiTransport({
      target: new KubeConfigTarget(() => this.kubeConfig()),
      userAgent: 'test',
      fieldManager: 'example-controller',
      perSecond: 1_000,
      burst: 1_000,
      ...options,
    })
  }

  async stop(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy()
    await new Promise((resolve) => this.#server.close(resolve))
  }

  #handle(request: IncomingMessage, response: ServerResponse): void {
    let body = ''
    request.setEncoding('utf8').on('data', (text: string) => (body += text))
    request.on('end', () => {
      const { pathname, searchParams: query } = new URL(request.url ?? '', this.url)
      const { headers, method = '' } = request
      const kind = kindOf(method, pathname, query)
      const recorded: RecordedRequest = { kind, method, path: pathname, query, headers, body }
      this.requests.push(recorded)
      const exchange = new Exchange(recorded, response)
      const respond = this.#scripts[kind].shift() ?? this.#always[kind] ?? this.#default(kind)
      respond(exchange)
    })
  }

  #default(kind: RecordedRequest['kind']): Responder {
    switch (kind) {
      case 'watch':
        return (exchange) => this.watches.push(exchange.stream())
      case 'list':
        return (exchange) => exchange.list([])
      default:
        return (exchange) => this.held.push(exchange)
    }
  }
}

function kindOf(method: string, path: string, query: URLSearchParams): RecordedRequest['kind'] {
  if (method !== 'GET') return 'write'
  if (query.get('watch') === 'true') return 'watch'
  return path.endsWith(`/${things.plural}`) ? 'list' : 'get'
}
