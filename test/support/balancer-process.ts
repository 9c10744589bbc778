// HAProxy and nginx processes with the configurations of examples/. A test changes only values that every
// site has to change.
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { get } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { locate, needs } from '../../scripts/needs.mjs'
import { makeCertificate } from './certificates.js'
import { Program } from './child-process.js'
import { tokenFor } from './gateway-process.js'
import { freePort, until } from './redis-processes.js'

/** The ports of a gateway behind the balancer. */
export interface GatewayAddress {
  readonly port: number
  readonly opsPort: number
}

export interface BalancerOptions {
  readonly gateways: readonly [GatewayAddress, GatewayAddress]
  /** Further texts of the example to replace. */
  readonly replacements?: Readonly<Record<string, string>>
}

export type BalancerName = 'haproxy' | 'nginx'

const files = { haproxy: 'haproxy.cfg', nginx: 'nginx.conf' } as const

/** Reads the configuration of the example. */
export function exampleOf(name: BalancerName): Promise<string> {
  return readFile(fileURLToPath(new URL(`../../examples/${name}/${files[name]}`, import.meta.url)), 'utf8')
}

/** Replaces the values. Throws when one is missing, because then the example has changed. */
function replaced(text: string, values: Readonly<Record<string, string>>): string {
  for (const [value, other] of Object.entries(values)) {
    if (!text.includes(value)) throw new Error(`the example has no "${value}"`)
    text = text.replaceAll(value, other)
  }
  return text
}

export class BalancerProcess {
  readonly port: number
  /** The self-signed certificate of the balancer. */
  readonly ca: string
  readonly #folder: string
  readonly #program: Program

  private constructor(parts: { port: number; ca: string; folder: string; program: Program }) {
    this.port = parts.port
    this.ca = parts.ca
    this.#folder = parts.folder
    this.#program = parts.program
  }

  get ws(): string {
    return `wss://localhost:${this.port}`
  }

  token = tokenFor

  /** Starts a balancer. Resolves when clients reach a gateway through it. */
  static async start(name: BalancerName, options: BalancerOptions): Promise<BalancerProcess> {
    const program = await locate(needs[name])
    if (program === undefined) throw new Error(`there is no ${name}: npm test installs it`)
    const folder = await mkdtemp(join(tmpdir(), `parley-${name}-`))
    const [port, plainPort] = [await freePort(), await freePort()]
    const ca = await placeCertificate(folder)
    const site = { folder, port, plainPort, places: options.gateways }
    const values = name === 'haproxy' ? haproxyValues(site) : nginxValues(site)
    const config = join(folder, files[name])
    await writeFile(config, replaced(await exampleOf(name), { ...values, ...options.replacements }))
    const command =
      name === 'haproxy'
        ? [program, '-f', config, '-db']
        : // nginx runs as one process, so that killing it ends everything.
          [program, '-p', folder, '-c', config, '-e', 'stderr', '-g', 'daemon off; master_process off;']
    const running = new Program(name, command)
    const balancer = new BalancerProcess({ port, ca, folder, program: running })
    const serving = until(`clients that reach a gateway through ${name}`, async () => {
      const status = await balancer.get('/demo/acme/ws')
      return status < 500
    })
    const ended = running.ended.then(() => Promise.reject(new Error(`${name} ended:\n${running.output}`)))
    await Promise.race([serving, ended])
    return balancer
  }

  /** Resolves to the status of a plain GET. */
  get(path: string): Promise<number> {
    return new Promise((resolve, reject) => {
      get({ host: 'localhost', port: this.port, path, ca: this.ca, agent: false }, (response) => {
        response.resume()
        resolve(response.statusCode ?? 0)
      }).on('error', reject)
    })
  }

  async stop(): Promise<void> {
    await this.#program.kill()
    await rm(this.#folder, { recursive: true, force: true })
  }
}

interface Site {
  readonly folder: string
  readonly port: number
  readonly plainPort: number
  readonly places: readonly [GatewayAddress, GatewayAddress]
}

function haproxyValues({ folder, places, plainPort, port }: Site): Record<string, string> {
  return {
    'bind :443': `bind 127.0.0.1:${port}`,
    'bind :80': `bind 127.0.0.1:${plainPort}`,
    '/etc/haproxy/certs/chat.example.com.pem': join(folder, 'chat.pem'),
    '/run/haproxy/parley.sock': join(folder, 'admin.sock'),
    // This number is within the limit of open files of a developer's account.
    'maxconn 100000': 'maxconn 200',
    '10.0.0.11:8000 check port 9090': `127.0.0.1:${places[0].port} check port ${places[0].opsPort}`,
    '10.0.0.12:8000 check port 9090': `127.0.0.1:${places[1].port} check port ${places[1].opsPort}`,
  }
}

function nginxValues({ folder, places, plainPort, port }: Site): Record<string, string> {
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
  return {
    // Only root may change the user, or write to the directories of the packages.
    'user www-data;': '',
    'http {\n': `http {\n${temporary.map((what) => `${what}_temp_path ${folder};\n`).join('')}`,
    'worker_rlimit_nofile 200000;': '',
    'worker_connections 65536;': 'worker_connections 400;',
    '/run/nginx.pid': join(folder, 'nginx.pid'),
    '/var/log/nginx/error.log': 'stderr',
    '/var/log/nginx/parley.log': join(folder, 'access.log'),
    'listen 443 ssl': `listen 127.0.0.1:${port} ssl`,
    'listen 80;': `listen 127.0.0.1:${plainPort};`,
    'server_name chat.example.com;': 'server_name localhost;',
    '/etc/nginx/certs/chat.example.com.crt': join(folder, 'chat.crt'),
    '/etc/nginx/certs/chat.example.com.key': join(folder, 'chat.key'),
    '10.0.0.11:8000': `127.0.0.1:${places[0].port}`,
    '10.0.0.12:8000': `127.0.0.1:${places[1].port}`,
  }
}

/**
 * Creates a certificate for `localhost` as chat.crt and chat.key, and both in chat.pem. Returns the
 * certificate.
 */
async function placeCertificate(folder: string): Promise<string> {
  await mkdir(folder, { recursive: true })
  const { cert, key } = await makeCertificate(folder, 'chat')
  const text = await readFile(cert, 'utf8')
  await writeFile(join(folder, 'chat.pem'), text + (await readFile(key, 'utf8')))
  return text
}
