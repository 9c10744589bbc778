// The cluster that KUBECONFIG names, by kubectl and helm: as its people have it, whatever it is and however one logs in there.
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

/** What it prints. Rejects with what it says on stderr. */
function command(program: keyof typeof programs, args: readonly string[], options: CommandOptions = {}) {
  const file = programs[program]
  if (file === undefined) throw new Error(`There is no ${program} on this machine.`)
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

/** `kubectl apply`. */
export async function apply(...items: readonly KubeObject[]): Promise<void> {
  await kubectl(['apply', '--filename=-'], {
    input: JSON.stringify({ apiVersion: 'v1', kind: 'List', items }),
  })
}

/** `what` as kubectl takes it: `chattenant/acme`, or a kind and a selector. Undefined: there is none. */
export async function find(what: string, ...options: readonly string[]): Promise<KubeObject | undefined> {
  const text = await kubectl(['get', what, '--ignore-not-found', '--output=json', ...options])
  return text === '' ? undefined : (JSON.parse(text) as KubeObject)
}

export async function get(what: string, ...options: readonly string[]): Promise<KubeObject> {
  const found = await find(what, ...options)
  if (!found) throw new Error(`there is no ${what} (${options.join(' ')})`)
  return found
}

export async function list(kind: string, ...options: readonly string[]): Promise<KubeObject[]> {
  // kubectl prints nothing instead of an empty list.
  return (await find(kind, ...options))?.['items'] ?? []
}

/** Polls as often as the cluster bears it beside everything else. */
export async function eventually<Value>(
  what: string,
  check: () => Promise<Value>,
  deadlineMs: number,
): Promise<Exclude<Value, undefined | null | false>> {
  return until(what, check, { deadlineMs, everyMs: 1_000 })
}

/** Of one namespace: what whoever looks into a failure would ask first. Nothing secret. */
export async function lookInto(namespace: string): Promise<string> {
  const inside = ['--namespace', namespace]
  const questions = [
    ['get', 'pods,deployments,statefulsets,hpa,pdb,pvc,leases', '--output=wide', ...inside],
    ['get', 'chattenants,chatplans', '--all-namespaces', '--output=wide'],
    ['describe', 'hpa', ...inside],
    ['get', 'events', '--sort-by=.lastTimestamp', ...inside],
    ['describe', 'pods', ...inside],
    [
      'logs',
      '--selector=app.kubernetes.io/part-of=parley',
      '--all-containers',
      '--prefix',
      '--tail=60',
      ...inside,
    ],
  ]
  const answers = await Promise.all(
    questions.map(async (args) => {
      const answer = await kubectl(args).catch((error: Error) => error.message)
      return `$ kubectl ${args.join(' ')}\n${answer}`
    }),
  )
  return answers.join('\n')
}
