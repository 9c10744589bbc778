// Where the API server is and as whom it is called. The kubeconfig with all its ways to authenticate is the client library's; the sockets
// are ours: the library opens a new TLS connection for each call.
import { createHash } from 'node:crypto'
import { Agent as HttpAgent } from 'node:http'
import { Agent as HttpsAgent, type RequestOptions } from 'node:https'
import { KubeConfig } from '@kubernetes/client-node'
import { ConfigError } from '../errors.js'

/** For one request. The agents stay the same until the TLS material changes. */
export interface Access {
  readonly headers: Readonly<Record<string, string>>
  /** For calls that end: a few sockets, of which one is kept. */
  readonly calls: HttpAgent
  /** For watches: a socket each, never reused. */
  readonly watches: HttpAgent
}

export interface ApiTarget {
  readonly url: URL
  /** Reads files and runs programs when credentials need it: it may fail, and it may hang. */
  access(): Promise<Access>
  /** The server did not accept the credentials: those cached are thrown away, at most once in five seconds. */
  distrust(): void
  /** Ends idle sockets. */
  close(): void
}

/** More than the ordinary calls at a time (see transport): what is urgent always finds one. */
const socketsMax = 8
const reloadPauseMs = 5_000

/**
 * A kubeconfig of its own each time, since a KubeConfig caches credentials. Without `path`: `KUBECONFIG`, `~/.kube/config`, or the
 * service account of the pod. Throws ConfigError.
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
  // What the library makes up when there is nothing at all.
  if (!cluster || cluster.server === 'http://localhost:8080') {
    throw new ConfigError([
      'No Kubernetes cluster: give --kubeconfig or KUBECONFIG, or run in a pod with a service account',
    ])
  }
  return config
}

export class KubeConfigTarget implements ApiTarget {
  readonly url: URL
  readonly #load: () => KubeConfig
  #config: KubeConfig
  #agents: { fingerprint: string; calls: HttpAgent; watches: HttpAgent } | undefined
  #reloadedMs = -reloadPauseMs

  /** `load` is called once now, and again whenever the credentials are distrusted. */
  constructor(load: () => KubeConfig) {
    this.#load = load
    this.#config = load()
    this.url = new URL(this.#config.getCurrentCluster()?.server ?? '')
  }

  async access(): Promise<Access> {
    const tls: RequestOptions = { headers: {} }
    await this.#config.applyToHTTPSOptions(tls)
    const headers: Record<string, string> = {}
    for (const [name, value] of Object.entries(tls.headers ?? {})) {
      // A token file ends with a line feed, which no header may hold.
      if (value !== undefined) headers[name.toLowerCase()] = String(value).trim()
    }
    if (typeof tls.auth === 'string') {
      headers['authorization'] = `Basic ${Buffer.from(tls.auth).toString('base64')}`
    }
    return { headers, ...this.#agentsFor(tls) }
  }

  distrust(): void {
    const nowMs = performance.now()
    if (nowMs - this.#reloadedMs < reloadPauseMs) return
    this.#reloadedMs = nowMs
    try {
      this.#config = this.#load()
    } catch {
      // Being rewritten at this moment, perhaps. What is there stays, and the next refusal tries again.
    }
  }

  close(): void {
    if (this.#agents) retire(this.#agents.calls)
    this.#agents = undefined
  }

  #agentsFor(tls: RequestOptions): { calls: HttpAgent; watches: HttpAgent } {
    const { ca, cert, key, passphrase, rejectUnauthorized, servername } = tls
    const proxy = this.#config.getCurrentCluster()?.proxyUrl
    const material = [ca, cert, key, passphrase, rejectUnauthorized, servername, proxy]
    const fingerprint = createHash('sha256').update(JSON.stringify(material)).digest('hex')
    if (this.#agents?.fingerprint === fingerprint) return this.#agents

    // Rotated on disk: new calls use the new one, those under way end as they began.
    if (this.#agents) retire(this.#agents.calls)
    const options = { ca, cert, key, passphrase, rejectUnauthorized, servername }
    const given = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined))
    const reused = { keepAlive: true, maxSockets: socketsMax, maxFreeSockets: 1 }
    if (proxy !== undefined && tls.agent instanceof HttpAgent) {
      // The library knows proxies; its agent is made to keep sockets. Watches share it, hence no limit.
      const agent = Object.assign(tls.agent, { ...reused, maxSockets: Infinity })
      this.#agents = { fingerprint, calls: agent, watches: agent }
    } else if (this.url.protocol === 'http:') {
      this.#agents = { fingerprint, calls: new HttpAgent(reused), watches: new HttpAgent() }
    } else {
      this.#agents = {
        fingerprint,
        calls: new HttpsAgent({ ...given, ...reused }),
        watches: new HttpsAgent(given),
      }
    }
    return this.#agents
  }
}

/** Keeps no socket from now on; those in use end with their calls. */
function retire(agent: HttpAgent): void {
  agent.maxFreeSockets = 0
  for (const sockets of Object.values(agent.freeSockets)) {
    for (const socket of sockets ?? []) socket.destroy()
  }
}
