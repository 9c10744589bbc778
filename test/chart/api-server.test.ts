// A real API server accepts what the chart renders: it knows every field, and every pod is restricted.
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { kubeStartMsMax, KubeServer } from '../support/kube-apiserver.js'
import { namespace } from '../support/kube-parley.js'
import { examples, pods, render, root, type Tree } from './rendering.js'

/** Kinds of CRDs that other projects define. They are not installed here. */
const foreign = /^(keda\.sh|gateway\.networking\.k8s\.io|monitoring\.coreos\.com)\//

const restricted = { 'pod-security.kubernetes.io/enforce': 'restricted' }

let server: KubeServer

beforeAll(async () => {
  server = await KubeServer.start()
  await server.client.create(namespace('chat', restricted))
  const metadata = { name: 'default', namespace: 'chat' }
  await server.client.create({ apiVersion: 'v1', kind: 'ServiceAccount', metadata })
}, kubeStartMsMax)

afterAll(() => server.stop())

describe.each([['defaults', {}] as [string, Tree], ...(await examples())])('%s', (_name, values) => {
  test('is accepted by the API server with every field', async () => {
    const objects = await render(values)
    expect(await refusals(objects.filter(({ apiVersion }) => !foreign.test(apiVersion)))).toEqual([])
  })

  test('renders pods that a restricted namespace admits', async () => {
    expect(await refusals(pods(await render(values)).map(podOf))).toEqual([])
  })
})

test('the API server refuses a pod that is not restricted', async () => {
  const spec = { containers: [{ name: 'c', image: 'i' }], automountServiceAccountToken: false }
  const pod = { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'pod', namespace: 'chat' }, spec }
  await expect(server.client.create(pod, { dryRun: true })).rejects.toThrow(/PodSecurity "restricted/)
})

test('kubectl applies manifests/install without changes', async () => {
  const folder = join(root, 'manifests/install')
  const output = await server.kubectl(['apply', '--server-side', '-k', folder])
  expect(output).toContain('deployment.apps/parley-gateway serverside-applied')
  expect(output).toContain('customresourcedefinition.apiextensions.k8s.io/chattenants.parley.chat')
})

/** The error messages with which the API server refuses `objects`. */
async function refusals(objects: Tree[]): Promise<string[]> {
  const outcomes = await Promise.allSettled(
    objects.map((object) => server.client.create(object, { dryRun: true })),
  )
  return outcomes.flatMap((outcome) => (outcome.status === 'rejected' ? [String(outcome.reason)] : []))
}

/**
 * The pod of a template, without what this API server lacks: volumes from claims, the service accounts and
 * the priority classes of the release.
 */
function podOf({ metadata, spec }: Tree): Tree {
  const { serviceAccountName: _account, priorityClassName: _class, volumes = [], ...rest } = spec
  const mounted = new Set<string>(
    rest.containers.flatMap(({ volumeMounts = [] }: Tree) => volumeMounts.map(({ name }: Tree) => name)),
  )
  for (const { name } of volumes) mounted.delete(name)
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'pod', namespace: 'chat', labels: metadata.labels },
    spec: {
      ...rest,
      automountServiceAccountToken: false,
      volumes: [...volumes, ...[...mounted].map((name) => ({ name, emptyDir: {} }))],
    },
  }
}
