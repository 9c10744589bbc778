// Volumes for the embedded Redis: from the default StorageClass of the cluster or, without one, folders of
// the node (for one-node clusters).
import { apply, kubectl, list } from './cluster.js'
import { tenantNamespaces } from './tenants.js'

const storageClassName = 'parley-e2e'
const folder = '/var/tmp/parley-e2e-volumes'
const count = 3
const [helperNamespace] = tenantNamespaces
const labels = { 'app.kubernetes.io/part-of': storageClassName }

/** Creates the volumes. Returns values for `redis.embedded.persistence`. */
export async function createVolumes(): Promise<object> {
  const size = '1Gi'
  const classes = await list('storageclasses')
  const isDefault = ({ metadata }: (typeof classes)[number]) =>
    (metadata['annotations'] as Record<string, string> | undefined)?.[
      'storageclass.kubernetes.io/is-default-class'
    ] === 'true'
  if (classes.some(isDefault)) return { enabled: true, size }

  await runAsRoot(`rm -rf ${folder}/* && cd ${folder} && mkdir 0 1 2 && chmod 777 0 1 2`)
  await apply(
    ...Array.from({ length: count }, (_, index) => ({
      apiVersion: 'v1',
      kind: 'PersistentVolume',
      metadata: { name: `parley-e2e-${index}`, labels },
      spec: {
        storageClassName,
        capacity: { storage: size },
        accessModes: ['ReadWriteOnce'],
        persistentVolumeReclaimPolicy: 'Retain',
        hostPath: { path: `${folder}/${index}` },
      },
    })),
  )
  return { enabled: true, size, storageClassName }
}

/** Removes all volumes, including those of an earlier run. Their claims must be deleted before. */
export async function removeVolumes(): Promise<void> {
  const selector = `--selector=app.kubernetes.io/part-of=${storageClassName}`
  if ((await list('persistentvolumes', selector)).length === 0) return
  await kubectl(['delete', 'persistentvolumes', selector, '--timeout=120s'])
}

/** Runs a script in a pod of root, because the folders belong to root and Redis runs as another user. */
async function runAsRoot(script: string): Promise<void> {
  const name = 'volume-creator'
  const inNamespace = ['--namespace', helperNamespace]
  await apply({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace: helperNamespace },
    spec: {
      restartPolicy: 'Never',
      securityContext: { runAsUser: 0 },
      containers: [
        {
          name,
          image: process.env['PARLEY_REDIS_IMAGE'] ?? 'docker.io/library/redis:7.2-bookworm',
          command: ['sh', '-c', script],
          volumeMounts: [{ name: 'folder', mountPath: folder }],
        },
      ],
      volumes: [{ name: 'folder', hostPath: { path: folder, type: 'DirectoryOrCreate' } }],
    },
  })
  await kubectl([
    'wait',
    '--for=jsonpath={.status.phase}=Succeeded',
    `pod/${name}`,
    '--timeout=120s',
    ...inNamespace,
  ])
  await kubectl(['delete', `pod/${name}`, ...inNamespace])
}
