// Which of several processes one is, as launchers say it.

import { assertEquals, assertThrows } from "@std/assert";
import { firstHost, type Launch, readLaunch } from "../../src/cuda/launch.ts";

const read = (variables: Record<string, string>) => readLaunch((name) => variables[name]);

/** The launch, without the port, which is a hash of the job. */
function withoutPort(variables: Record<string, string>): Omit<Launch, "port"> | null {
	const launch = read(variables);
	if (!launch) return null;
	const { port, ...rest } = launch;
	assertEquals(Number.isInteger(port) && port > 1024 && port < 65536, true);
	return rest;
}

Deno.test("each launcher's variables tell the rank", () => {
	assertEquals(
		read({
			RANK: "3",
			WORLD_SIZE: "8",
			LOCAL_RANK: "1",
			LOCAL_WORLD_SIZE: "2",
			MASTER_ADDR: "node1",
			MASTER_PORT: "29500",
			TORCHELASTIC_RUN_ID: "none",
		}),
		{ rank: 3, size: 8, localRank: 1, address: "node1", port: 29500, job: "torchrun none" },
	);
	const openMpi = {
		OMPI_COMM_WORLD_RANK: "1",
		OMPI_COMM_WORLD_SIZE: "4",
		OMPI_COMM_WORLD_LOCAL_RANK: "1",
		OMPI_COMM_WORLD_LOCAL_SIZE: "4",
		PMIX_NAMESPACE: "vm.1",
	};
	const launch = { rank: 1, size: 4, localRank: 1, job: "mpirun of Open MPI vm.1" };
	assertEquals(withoutPort(openMpi), { ...launch, address: "127.0.0.1" });
	// On several machines, somebody must say where rank 0 is.
	const apart = { ...openMpi, OMPI_COMM_WORLD_LOCAL_SIZE: "2" };
	assertEquals(withoutPort(apart), { ...launch, address: null });
	assertEquals(withoutPort({ ...apart, MASTER_ADDR: "a" }), { ...launch, address: "a" });
	assertEquals(
		withoutPort({ PMI_RANK: "0", PMI_SIZE: "2" }),
		{ rank: 0, size: 2, localRank: 0, address: null, job: "mpirun of MPICH " },
	);
	assertEquals(
		withoutPort({
			SLURM_PROCID: "5",
			SLURM_STEP_NUM_TASKS: "16",
			SLURM_LOCALID: "1",
			SLURM_JOB_ID: "77",
			SLURM_STEP_ID: "0",
			SLURM_STEP_NODELIST: "gpu[07-09,12]",
		}),
		{ rank: 5, size: 16, localRank: 1, address: "gpu07", job: "srun 77.0" },
	);
});

Deno.test("a process that is alone is no launch", () => {
	assertEquals(read({}), null);
	assertEquals(read({ RANK: "0", WORLD_SIZE: "1" }), null);
	// The script of a Slurm job is one process, however many tasks its steps will have.
	assertEquals(read({ SLURM_PROCID: "0", SLURM_NTASKS: "16", SLURM_JOB_ID: "77" }), null);
});

Deno.test("jobs have ports of their own", () => {
	const port = (PMIX_NAMESPACE: string) =>
		read({ OMPI_COMM_WORLD_RANK: "0", OMPI_COMM_WORLD_SIZE: "2", PMIX_NAMESPACE })!.port;
	assertEquals(port("vm.1"), port("vm.1"));
	assertEquals(new Set(Array.from({ length: 20 }, (_, i) => port(`vm.${i}`))).size, 20);
});

Deno.test("variables that cannot be are refused", () => {
	const good = { RANK: "0", WORLD_SIZE: "2" };
	for (
		const [bad, expected] of [
			[{ RANK: "2" }, "Cannot use RANK=2: it must be a whole number from 0 to 1"],
			[{ RANK: "x" }, "Cannot use RANK=x"],
			[{ WORLD_SIZE: "0" }, "Cannot use WORLD_SIZE=0: it must be a whole number from 1"],
			[{ MASTER_PORT: "70000" }, "Cannot use MASTER_PORT=70000"],
		] as const
	) assertThrows(() => read({ ...good, ...bad }), RangeError, expected);
});

Deno.test("the first host of Slurm's lists", () => {
	for (
		const [list, first] of [
			["node1", "node1"],
			["node1,node2", "node1"],
			["node[07-09,12],other", "node07"],
			["node[3,5]", "node3"],
			["rack[2-4]-gpu,x", "rack2-gpu"],
		] as const
	) assertEquals(firstHost(list), first);
});
