// An API server that does what it is told: refuses, lies, falls silent, cuts. A real HTTP server on loopback; what it serves is a script.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { KubeConfig } from '@kubernetes/client-node'
import { KubeConfigTarget } from '../../src/kube/api-target.js'
import { ApiTransport, type TransportOptions } from '../../src/kube/api-transport.js'
import { Arrivals } from './waiting.js'

export interface Asked {
  readonly kind: 'list' | 'watch' | 'get' | 'write'
  readonly method: string
  readonly path: string
  readonly query: URLSearchParams
  readonly headers: IncomingMessage['headers']
  readonly body: string
}

/** One request, to be answered as the test likes, or not at all. */
export class Exchange {
  readonly asked: Asked
  readonly response: ServerResponse
  /** Resolves when the connection is gone. */
  readonly gone: Promise<void>

  constructor(asked: Asked, response: ServerResponse) {
    this.asked = asked
    this.response = response
    this.gone = new Promise((resolve) => response.on('close', resolve))
  }

  json(code: number, body: unknown, headers: Record<string, string> = {}): void {
    this.response.writeHead(code, { 'content-type': 'application/json', ...headers })
    this.response.end(JSON.stringify(body))
  }

  status(code: number, reason: string, headers: Record<string, string> = {}): void {
    this.json(code, statusOf(code, reason), headers)
  }

  /** `continue` empty: the last page. */
  list(items: readonly object[], { resourceVersion = '100', next = '' } = {}): void {
    this.json(200, { kind: 'ThingList', metadata: { resourceVersion, continue: next }, items })
  }

  /** The answer begins; then events, raw text, or nothing. */
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

  /** In good order. */
  end(): void {
    this.response.end()
  }

  /** In the middle of whatever it was. */
  cut(): void {
    this.response.destroy()
  }
}

export function statusOf(code: number, reason: string): object {
  return { kind: 'Status', apiVersion: 'v1', status: 'Failure', code, reason, message: `${reason} by script` }
}

/** An object of the kind that `things` names. */
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

type Answer = (exchange: Exchange) => void

export class ScriptedKube {
  readonly asked: Asked[] = []
  /** Watches that nobody scripted: open, silent, for the test to speak through. */
  readonly watches = new Arrivals<Exchange>('a watch')
  /** Calls other than watches that a script of `undefined` has left to the test. */
  readonly held = new Arrivals<Exchange>('a call')
  connections = 0
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  readonly #scripts = { list: [], watch: [], get: [], write: [] } as Record<Asked['kind'], Answer[]>
  readonly #always: Partial<Record<Asked['kind'], Answer>> = {}

  private constructor() {
    this.#server = createServer((request, response) => this.#take(request, response))
    // Only the client ends connections here.
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

  count(kind: Asked['kind']): number {
    return this.asked.filter((asked) => asked.kind === kind).length
  }

  /** The next calls of that kind are answered so, one each. */
  script(kind: Asked['kind'], ...answers: Answer[]): void {
    this.#scripts[kind].push(...answers)
  }

  /** All calls of that kind that no script is left for. */
  always(kind: Asked['kind'], answer: Answer): void {
    this.#always[kind] = answer
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
      perSecond: 1_000,
      burst: 1_000,
      ...options,
    })
  }

  async stop(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy()
    await new Promise((resolve) => this.#server.close(resolve))
  }

  #take(request: IncomingMessage, response: ServerResponse): void {
    let body = ''
    request.setEncoding('utf8').on('data', (text: string) => (body += text))
    request.on('end', () => {
      const { pathname, searchParams: query } = new URL(request.url ?? '', this.url)
      const { headers, method = '' } = request
      const kind = kindOf(method, pathname, query)
      const asked: Asked = { kind, method, path: pathname, query, headers, body }
      this.asked.push(asked)
      const exchange = new Exchange(asked, response)
      const answer = this.#scripts[kind].shift() ?? this.#always[kind] ?? this.#usual(kind)
      answer(exchange)
    })
  }

  #usual(kind: Asked['kind']): Answer {
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

function kindOf(method: string, path: string, query: URLSearchParams): Asked['kind'] {
  if (method !== 'GET') return 'write'
  if (query.get('watch') === 'true') return 'watch'
  return path.endsWith(`/${things.plural}`) ? 'list' : 'get'
}
