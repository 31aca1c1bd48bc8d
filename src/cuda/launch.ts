// Which of several processes this one is, as the launcher that started it says in the environment.

import { environment } from "../host/cache_directory.ts";

/** A process among those that a launcher started together. */
export interface Launch {
	/** Its number, from 0 on. */
	rank: number;
	/** How many there are. */
	size: number;
	/** Its number among those on its machine: which GPU is its own. */
	localRank: number;
	/** Where rank 0 is, if that is known: a name or an address. */
	address: string | null;
	/** The port that rank 0 listens on for the others. */
	port: number;
	/** Names the job, so that no process of another one joins. */
	job: string;
}

/** What started a process, and the variables in which it says so. */
interface Launcher {
	name: string;
	rank: string;
	size: string;
	localRank: string;
	localSize: string | null;
	job: readonly string[];
}

const LAUNCHERS: readonly Launcher[] = [
	{
		name: "torchrun",
		rank: "RANK",
		size: "WORLD_SIZE",
		localRank: "LOCAL_RANK",
		localSize: "LOCAL_WORLD_SIZE",
		job: ["TORCHELASTIC_RUN_ID"],
	},
	{
		name: "mpirun of Open MPI",
		rank: "OMPI_COMM_WORLD_RANK",
		size: "OMPI_COMM_WORLD_SIZE",
		localRank: "OMPI_COMM_WORLD_LOCAL_RANK",
		localSize: "OMPI_COMM_WORLD_LOCAL_SIZE",
		job: ["PMIX_NAMESPACE", "OMPI_MCA_ess_base_jobid"],
	},
	{
		name: "mpirun of MPICH",
		rank: "PMI_RANK",
		size: "PMI_SIZE",
		localRank: "MPI_LOCALRANKID",
		localSize: "MPI_LOCALNRANKS",
		job: ["PMI_JOBID"],
	},
	{
		// Only a step that srun started has the number of its tasks here; the script of a job has not.
		name: "srun",
		rank: "SLURM_PROCID",
		size: "SLURM_STEP_NUM_TASKS",
		localRank: "SLURM_LOCALID",
		localSize: null,
		job: ["SLURM_JOB_ID", "SLURM_STEP_ID"],
	},
];

/** The first host of a list as Slurm writes it: `node07` of `node[07-09,12],other`. */
export function firstHost(list: string): string {
	const [, name, first, rest] = /^([^[,]*)(?:\[([^-,\]]+)[^\]]*\]([^,]*))?/.exec(list)!;
	return `${name}${first ?? ""}${rest ?? ""}`;
}

/** A port from the name of a job, so that two jobs on a machine rarely have the same. */
function portOf(job: string): number {
	let hash = 0;
	for (const letter of job) hash = (hash * 31 + letter.codePointAt(0)!) % 8192;
	return 21_000 + hash;
}

/**
 * What the environment says of this process: `torchrun`'s variables, or those of `mpirun` or `srun`.
 * `MASTER_ADDR` and `MASTER_PORT` say where rank 0 is, for each of them.
 *
 * @param read reads a variable
 * @returns null where no launcher started this process, or started it alone
 * @throws {RangeError} if the variables contradict each other
 */
export function readLaunch(
	read: (name: string) => string | undefined = environment,
): Launch | null {
	const launcher = LAUNCHERS.find(({ rank, size }) =>
		read(rank) !== undefined && read(size) !== undefined
	);
	if (!launcher) return null;
	const whole = (name: string, least: number, below: number) => {
		const text = read(name)!, number = Number(text);
		if (/^\d+$/.test(text) && number >= least && number < below) return number;
		throw new RangeError(
			`Cannot use ${name}=${text}: it must be a whole number from ${least} to ${below - 1}`,
		);
	};
	const size = whole(launcher.size, 1, 2 ** 20), rank = whole(launcher.rank, 0, size);
	if (size === 1) return null;
	const has = (name: string | null): name is string => name !== null && read(name) !== undefined;
	const job = launcher.job.flatMap((name) => read(name) ?? []).join(".");
	const together = has(launcher.localSize) && whole(launcher.localSize, 1, 2 ** 20) === size;
	const nodes = read("SLURM_STEP_NODELIST");
	return {
		rank,
		size,
		localRank: has(launcher.localRank) ? whole(launcher.localRank, 0, 2 ** 20) : 0,
		address: read("MASTER_ADDR") ??
			(together ? "127.0.0.1" : launcher.name === "srun" && nodes ? firstHost(nodes) : null),
		port: has("MASTER_PORT") ? whole("MASTER_PORT", 1, 65536) : portOf(job),
		job: `${launcher.name} ${job}`,
	};
}
