// kubectl, which the end-to-end run talks to its cluster with: where it lies on this machine.
import { join } from 'node:path'
import { locateKubeAssets } from './kube-assets.mjs'
import { onPath } from './needs.mjs'

/**
 * Undefined when there is none.
 * @returns {Promise<string | undefined>}
 */
export async function locateKubectl() {
  const found = await onPath(['kubectl'])
  if (found) return found
  const folder = await locateKubeAssets()
  return folder && join(folder, 'kubectl')
}
