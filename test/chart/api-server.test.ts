// A real API server takes what the chart renders: every field known, every pod restricted.
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { kubeStartMsMax, KubeServer } from '../support/kube-apiserver.js'
import { namespace } from '../support/kube-parley.js'
import { examples, pods, render, root, type Tree } from './rendering.js'

/** What others' CRDs define, which are not there. */
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
  test('is taken, field by field', async () => {
    const objects = await render(values)
    expect(await refusals(objects.filter(({ apiVersion }) => !foreign.test(apiVersion)))).toEqual([])
  })

  test('makes pods that a restricted namespace lets in', async () => {
    expect(await refusals(pods(await render(values)).map(podOf))).toEqual([])
  })
})

test('a pod that is not restricted would have been refused', async () => {
  const spec = { containers: [{ name: 'c', image: 'i' }], automountServiceAccountToken: false }
  const pod = { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'pod', namespace: 'chat' }, spec }
  await expect(server.client.create(pod, { dryRun: true })).rejects.toThrow(/PodSecurity "restricted/)
})

test('manifests/install is applied by kubectl as it is', async () => {
  const folder = join(root, 'manifests/install')
  const output = await server.kubectl(['apply', '--server-side', '-k', folder])
  expect(output).toContain('deployment.apps/parley-gateway serverside-applied')
  expect(output).toContain('customresourcedefinition.apiextensions.k8s.io/chattenants.parley.chat')
})

/** What the API server has against each, in its own words. */
async function refusals(objects: Tree[]): Promise<string[]> {
  const outcomes = await Promise.allSettled(
    objects.map((object) => server.client.create(object, { dryRun: true })),
  )
  return outcomes.flatMap((outcome) => (outcome.status === 'rejected' ? [String(outcome.reason)] : []))
}

/** Here nobody makes volumes of claims, and there are neither the release's accounts nor classes. */
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
