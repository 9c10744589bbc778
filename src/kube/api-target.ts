// Provides the address of the API server and the credentials for it. The client library parses the kubeconfig
// and implements its authentication methods. The sockets are managed here, because the library opens a new
// TLS connection for each call.
import { createHash } from 'node:crypto'
import { Agent as HttpAgent } from 'node:http'
import { Agent as HttpsAgent, type RequestOptions } from 'node:https'
import { KubeConfig } from '@kubernetes/client-node'
import { ConfigError } from '../errors.js'

/** The headers and sockets for one request. The agents stay the same until the TLS material changes. */
export interface ApiAccess {
  readonly headers: Readonly<Record<string, string>>
  /** For ordinary calls: a limited number of sockets, of which one is kept open when idle. */
  readonly callAgent: HttpAgent
  /** For watches: one socket each, which is never reused. */
  readonly watchAgent: HttpAgent
}

export interface ApiTarget {
  readonly url: URL
  /** Returns the current credentials. It may read files and run programs, so it can fail or hang. */
  access(): Promise<ApiAccess>
  /** Discards cached credentials, at most once every 5 s. Call it when the server rejected them. */
  reloadCredentials(): void
  /** Closes idle sockets. */
  close(): void
}

/** More than the transport's limit for concurrent calls, so that an urgent call always gets a socket. */
const socketsMaxDefault = 8
const reloadIntervalMs = 5_000

/**
 * Loads a new kubeconfig, because a KubeConfig caches credentials. The default of `path` is `KUBECONFIG`,
 * then `~/.kube/config`, then the pod's service account; the default of `context` is the current one. Throws
 * ConfigError.
 */
export function loadKubeConfig(options: {
  path?: string | undefined
  context?: string | undefined
}): KubeConfig {
  const config = new KubeConfig()
  try {
    if (options.path === undefined) config.loadFromDefault()
    else config.loadFromFile(options.path)
  } catch (error) {
    throw new ConfigError([
      `The kubeconfig cannot be read: ${error instanceof Error ? error.message : String(error)}`,
    ])
  }
  if (options.context !== undefined) config.setCurrentContext(options.context)
  const cluster = config.getCurrentCluster()
  // The library returns this address when it finds no configuration.
  if (!cluster || cluster.server === 'http://localhost:8080') {
    throw new ConfigError([
      'No Kubernetes cluster: set --kubeconfig or KUBECONFIG, or run in a pod with a service account',
    ])
  }
  return config
}

export class KubeConfigTarget implements ApiTarget {
  readonly url: URL
  readonly #load: () => KubeConfig
  readonly #socketsMax: number
  #config: KubeConfig
  #agents: { fingerprint: string; callAgent: HttpAgent; watchAgent: HttpAgent } | undefined
  #reloadedMs = -reloadIntervalMs

  /**
   * `load` is called once now, and again by `reloadCredentials`. `socketsMax` limits the sockets for ordinary
   * calls. Default 8.
   */
  constructor(load: () => KubeConfig, options: { socketsMax?: number } = {}) {
    this.#load = load
    this.#socketsMax = options.socketsMax ?? socketsMaxDefault
    this.#config = load()
    this.url = new URL(this.#config.getCurrentCluster()?.server ?? '')
  }

  async access(): Promise<ApiAccess> {
    const tls: RequestOptions = { headers: {} }
    await this.#config.applyToHTTPSOptions(tls)
    const headers: Record<string, string> = {}
    for (const [name, value] of Object.entries(tls.headers ?? {})) {
      // A token file may end with a line feed, which is not allowed in a header.
      if (value !== undefined) headers[name.toLowerCase()] = String(value).trim()
    }
    if (typeof tls.auth === 'string') {
      headers['authorization'] = `Basic ${Buffer.from(tls.auth).toString('base64')}`
    }
    return { headers, ...this.#agentsFor(tls) }
  }

  reloadCredentials(): void {
    const nowMs = performance.now()
    if (nowMs - this.#reloadedMs < reloadIntervalMs) return
    this.#reloadedMs = nowMs
    try {
      this.#config = this.#load()
    } catch {
      // The file may be in the middle of a rewrite. The old credentials stay, and the next rejection tries
      // again.
    }
  }

  close(): void {
    if (this.#agents) retire(this.#agents.callAgent)
    this.#agents = undefined
  }

  #agentsFor(tls: RequestOptions): { callAgent: HttpAgent; watchAgent: HttpAgent } {
    const { ca, cert, key, passphrase, rejectUnauthorized, servername } = tls
    const proxy = this.#config.getCurrentCluster()?.proxyUrl
    const material = [ca, cert, key, passphrase, rejectUnauthorized, servername, proxy]
    const fingerprint = createHash('sha256').update(JSON.stringify(material)).digest('hex')
    if (this.#agents?.fingerprint === fingerprint) return this.#agents

    // The material was rotated: new calls use new sockets, and calls in flight finish on the old ones.
    if (this.#agents) retire(this.#agents.callAgent)
    const options = { ca, cert, key, passphrase, rejectUnauthorized, servername }
    const defined = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined))
    const reused = { keepAlive: true, maxSockets: this.#socketsMax, maxFreeSockets: 1 }
    if (proxy !== undefined && tls.agent instanceof HttpAgent) {
      // The library's agent supports proxies. Keep-alive is enabled on it, and the number of its sockets is
      // not limited, because watches use it too.
      const agent = Object.assign(tls.agent, { ...reused, maxSockets: Infinity })
      this.#agents = { fingerprint, callAgent: agent, watchAgent: agent }
    } else if (this.url.protocol === 'http:') {
      this.#agents = { fingerprint, callAgent: new HttpAgent(reused), watchAgent: new HttpAgent() }
    } else {
      this.#agents = {
        fingerprint,
        callAgent: new HttpsAgent({ ...defined, ...reused }),
        watchAgent: new HttpsAgent(defined),
      }
    }
    return this.#agents
  }
}

/** Closes idle sockets. Sockets in use are closed when their calls end. */
function retire(agent: HttpAgent): void {
  agent.maxFreeSockets = 0
  for (const sockets of Object.values(agent.freeSockets)) {
    for (const socket of sockets ?? []) socket.destroy()
  }
}
