// Access to the cluster that KUBECONFIG names. It uses kubectl and helm, so that it works with every cluster
// and every login method.
import { execFile } from 'node:child_process'
import { locateHelm } from '../../scripts/helm.mjs'
import { locateKubectl } from '../../scripts/kubectl.mjs'
import type { KubeObject } from '../support/kube-client.js'
import { until } from '../support/redis-processes.js'

interface CommandOptions {
  readonly input?: string
}

const programs = {
  kubectl: await locateKubectl(),
  helm: await locateHelm(),
}

/** Runs the program. Resolves with its standard output; rejects with its standard error. */
function command(program: keyof typeof programs, args: readonly string[], options: CommandOptions = {}) {
  const file = programs[program]
  if (file === undefined) throw new Error(`${program} is missing on this machine.`)
  return new Promise<string>((resolve, reject) => {
    const child = execFile(file, args, { maxBuffer: 2 ** 28 }, (error, stdout, stderr) => {
      if (error) reject(new Error(`${program} ${args.join(' ')}: ${stderr || error.message}`))
      else resolve(stdout)
    })
    child.stdin?.end(options.input ?? '')
  })
}

export const kubectl = (args: readonly string[], options?: CommandOptions): Promise<string> =>
  command('kubectl', args, options)

export const helm = (args: readonly string[], options?: CommandOptions): Promise<string> =>
  command('helm', args, options)

/** Applies objects with `kubectl apply`. */
export async function apply(...items: readonly KubeObject[]): Promise<void> {
  await kubectl(['apply', '--filename=-'], {
    input: JSON.stringify({ apiVersion: 'v1', kind: 'List', items }),
  })
}

/**
 * Reads `what` in the syntax of kubectl, for example `chattenant/acme`. Returns undefined when it does not
 * exist.
 */
export async function find(what: string, ...options: readonly string[]): Promise<KubeObject | undefined> {
  const text = await kubectl(['get', what, '--ignore-not-found', '--output=json', ...options])
  return text === '' ? undefined : (JSON.parse(text) as KubeObject)
}

export async function get(what: string, ...options: readonly string[]): Promise<KubeObject> {
  const found = await find(what, ...options)
  if (!found) throw new Error(`${what} does not exist (${options.join(' ')})`)
  return found
}

export async function list(kind: string, ...options: readonly string[]): Promise<KubeObject[]> {
  // For an empty list, kubectl prints nothing.
  return (await find(kind, ...options))?.['items'] ?? []
}

/** Polls `check` once per second until it returns a value other than undefined, null or false. */
export async function eventually<Value>(
  what: string,
  check: () => Promise<Value>,
  deadlineMs: number,
): Promise<Exclude<Value, undefined | null | false>> {
  return until(what, check, { deadlineMs, everyMs: 1_000 })
}

/** Describes one namespace to help with the analysis of a failure. The text contains no secrets. */
export async function describeNamespace(namespace: string): Promise<string> {
  const inNamespace = ['--namespace', namespace]
  const commands = [
    ['get', 'pods,deployments,statefulsets,hpa,pdb,pvc,leases', '--output=wide', ...inNamespace],
    ['get', 'chattenants,chatplans', '--all-namespaces', '--output=wide'],
    ['describe', 'hpa', ...inNamespace],
    ['get', 'events', '--sort-by=.lastTimestamp', ...inNamespace],
    ['describe', 'pods', ...inNamespace],
    [
      'logs',
      '--selector=app.kubernetes.io/part-of=parley',
      '--all-containers',
      '--prefix',
      '--tail=60',
      ...inNamespace,
    ],
  ]
  const outputs = await Promise.all(
    commands.map(async (args) => {
      const output = await kubectl(args).catch((error: Error) => error.message)
      return `$ kubectl ${args.join(' ')}\n${output}`
    }),
  )
  return outputs.join('\n')
}
