// A real kube-apiserver with a real etcd, on free ports and in a temporary folder. RBAC, admission and
// validation work as in a cluster. There are no nodes and no controllers, so namespaces stay `Terminating`,
// owned objects are not collected, and tests must create service accounts.
import { execFile } from 'node:child_process'
import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { locateKubeAssets } from '../../scripts/kube-assets.mjs'
import { Program } from './child-process.js'
import { KubeClient } from './kube-client.js'
import { freePort, until } from './redis-processes.js'

/** The timeout for hooks that start a server. A start takes 5 to 8 seconds on two idle cores. */
export const kubeStartMsMax = 120_000

export interface KubeServerOptions {
  /** Additional users with tokens, and their groups. The user `admin` always exists and has all rights. */
  readonly users?: Readonly<Record<string, readonly string[]>>
}

interface Parts {
  readonly assets: string
  readonly folder: string
  readonly tokens: ReadonlyMap<string, string>
  readonly etcd: Program
  readonly etcdPort: number
  readonly port: number
}

export class KubeServer {
  readonly url: string
  readonly #parts: Parts
  #apiserver: Program | undefined
  #ca = ''
  #client: KubeClient | undefined

  private constructor(parts: Parts) {
    this.#parts = parts
    this.url = `https://127.0.0.1:${parts.port}`
  }

  /** Starts a server. Resolves when it is ready. Its processes end with the test process at the latest. */
  static async start({ users = {} }: KubeServerOptions = {}): Promise<KubeServer> {
    const assets = await locateKubeAssets()
    if (assets === undefined)
      throw new Error('kube-apiserver is not installed: run node scripts/test-setup.mjs')
    const folder = await mkdtemp(join(tmpdir(), 'parley-kube-'))
    const groups = { admin: ['system:masters'], ...users }
    const tokens = new Map(Object.keys(groups).map((user) => [user, randomBytes(16).toString('hex')]))
    const lines = Object.entries(groups).map(
      ([user, names]) => `${tokens.get(user)},${user},${user},"${names.join(',')}"\n`,
    )
    await writeFile(join(folder, 'tokens.csv'), lines.join(''))
    await writeFile(join(folder, 'sa.key'), serviceAccountKey())
    await mkdir(join(folder, 'certs'))

    const [etcdPort, peerPort, port] = [await freePort(), await freePort(), await freePort()]
    const clientUrl = `http://127.0.0.1:${etcdPort}`
    const peerUrl = `http://127.0.0.1:${peerPort}`
    const etcd = new Program('etcd', [
      join(assets, 'etcd'),
      ...['--data-dir', join(folder, 'etcd'), '--unsafe-no-fsync', '--log-level', 'warn'],
      ...['--listen-client-urls', clientUrl, '--advertise-client-urls', clientUrl],
      ...['--listen-peer-urls', peerUrl, '--initial-advertise-peer-urls', peerUrl],
      ...['--initial-cluster', `default=${peerUrl}`],
    ])
    const server = new KubeServer({ assets, folder, tokens, etcd, etcdPort, port })
    try {
      await server.startApiServer()
      return server
    } catch (error) {
      await server.stop()
      throw error
    }
  }

  /**
   * Starts the API server, after `killApiServer` with the same address, certificate and data. Resolves when
   * it is ready.
   */
  async startApiServer(): Promise<void> {
    const { assets, etcdPort, folder, port } = this.#parts
    const inFolder = (name: string): string => join(folder, name)
    const program = new Program('kube-apiserver', [
      join(assets, 'kube-apiserver'),
      `--etcd-servers=http://127.0.0.1:${etcdPort}`,
      '--bind-address=127.0.0.1',
      `--secure-port=${port}`,
      // The server creates its certificate and its certificate authority in this folder.
      `--cert-dir=${inFolder('certs')}`,
      `--token-auth-file=${inFolder('tokens.csv')}`,
      '--authorization-mode=RBAC',
      '--service-account-issuer=https://kubernetes.default.svc',
      `--service-account-key-file=${inFolder('sa.key')}`,
      `--service-account-signing-key-file=${inFolder('sa.key')}`,
      '--service-cluster-ip-range=10.0.0.0/24',
      // The server is not reached through a Service.
      '--endpoint-reconciler-type=none',
      // On SIGTERM the server closes connections immediately.
      '--shutdown-delay-duration=0s',
    ])
    this.#apiserver = program
    const ended = program.ended.then(({ code }) => {
      throw new Error(`kube-apiserver ended with ${code}:\n${program.output.slice(-3_000)}`)
    })
    await Promise.race([ended, this.#ready()])
    ended.catch(() => {})
  }

  async #ready(): Promise<void> {
    await until(
      'a ready API server',
      async () => {
        this.#ca = await readFile(join(this.#parts.folder, 'certs', 'apiserver.crt'), 'utf8')
        this.#client ??= new KubeClient({ url: this.url, ca: this.#ca, token: this.#token('admin') })
        return (await this.#client.request('GET', '/readyz')).status === 200
      },
      { deadlineMs: kubeStartMsMax, everyMs: 100 },
    )
    await this.#write('admin')
  }

  /** The administrator's client, which can impersonate any user (`client.as`). */
  get client(): KubeClient {
    if (!this.#client) throw new Error('the API server has not started')
    return this.#client
  }

  /** The PEM of the certificate authority of the server. */
  get ca(): string {
    return this.#ca
  }

  /** The path of the administrator's kubeconfig. */
  get kubeconfig(): string {
    return join(this.#parts.folder, 'admin.kubeconfig')
  }

  /** Returns the path of a kubeconfig of one of the `users`. */
  async kubeconfigOf(user: string): Promise<string> {
    return this.#write(user)
  }

  /**
   * Returns the path of a kubeconfig with a token of a service account, which is created when it is missing.
   */
  async kubeconfigOfServiceAccount(namespace: string, name: string): Promise<string> {
    const base = `/api/v1/namespaces/${namespace}/serviceaccounts`
    await this.client.request('POST', base, { body: { metadata: { name } } })
    const { body, status } = await this.client.request('POST', `${base}/${name}/token`, {
      body: {
        apiVersion: 'authentication.k8s.io/v1',
        kind: 'TokenRequest',
        spec: { expirationSeconds: 3_600 },
      },
    })
    if (status !== 201) throw new Error(`no token for ${namespace}/${name}: ${JSON.stringify(body)}`)
    return this.#write(`${namespace}-${name}`, body['status'].token)
  }

  /** The process id of the API server. SIGSTOP and SIGCONT simulate a server that hangs. */
  get pid(): number {
    return this.#apiserver?.pid ?? 0
  }

  /** Kills the API server with SIGKILL. Stored data stays. */
  async killApiServer(): Promise<void> {
    await this.#apiserver?.kill()
  }

  /**
   * Runs kubectl as `as`, by default the administrator, and returns its output. Rejects with its error
   * output.
   */
  async kubectl(args: readonly string[], { as = 'admin' } = {}): Promise<string> {
    const { assets, folder } = this.#parts
    const options = { env: { HOME: folder, KUBECONFIG: await this.#write(as) }, timeout: 60_000 }
    const { stdout } = await promisify(execFile)(join(assets, 'kubectl'), [...args], options)
    return stdout
  }

  /** Ends both processes and deletes their files. For `afterAll`. */
  async stop(): Promise<void> {
    this.#client?.close()
    await this.#apiserver?.kill()
    await this.#parts.etcd.kill()
    await rm(this.#parts.folder, { recursive: true, force: true })
  }

  #token(user: string): string {
    const token = this.#parts.tokens.get(user)
    if (token === undefined) throw new Error(`the API server was started without a user "${user}"`)
    return token
  }

  async #write(user: string, token = this.#token(user)): Promise<string> {
    const file = join(this.#parts.folder, `${user}.kubeconfig`)
    const cluster = {
      server: this.url,
      'certificate-authority-data': Buffer.from(this.#ca).toString('base64'),
    }
    const config = {
      apiVersion: 'v1',
      kind: 'Config',
      clusters: [{ name: 'test', cluster }],
      users: [{ name: user, user: { token } }],
      contexts: [{ name: 'test', context: { cluster: 'test', user } }],
      'current-context': 'test',
    }
    // JSON is valid YAML.
    await writeFile(file, JSON.stringify(config))
    return file
  }
}

function serviceAccountKey(): string {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
  return privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
}
