/* SPDX-License-Identifier: MIT */
/* mismatch_reports.h - what a machine says to each case of test_mismatch.c, see corpus.h */
	CASE(object_in_the_cpus_array,
	     .expected =
		"------------[ cut here ]------------\n"
		"slab: double free detected in cache 'kmalloc-128', object at ADDR, again at "
		"object_in_the_cpus_array\n"
		"WARNING: CPU: 0 PID: N at slab_report.c:N report_double_free\n"
		"CPU: 0 PID: N Comm: call preempt_count: 0\n"
		"Call Trace:\n"
		"---[ end trace 0000000000000001 ]---\n"
		"freed again at $c object_in_the_cpus_array\n"
		"object allocated at $a object_in_the_cpus_array\n"
		"object last freed at $b object_in_the_cpus_array\n"),
	CASE(object_freed_last,
	     .expected =
		"------------[ cut here ]------------\n"
		"slab: double free detected in cache 'kmalloc-128', object at ADDR, again at "
		"object_freed_last\n"
		"WARNING: CPU: 0 PID: N at slab_report.c:N report_double_free\n"
		"CPU: 0 PID: N Comm: call preempt_count: 0\n"
		"Call Trace:\n"
		"---[ end trace 0000000000000001 ]---\n"
		"freed again at $c object_freed_last\n"
		"object allocated at $a object_freed_last\n"
		"object last freed at $b object_freed_last\n"),
	CASE(object_that_was_flushed_to_its_slab,
	     .expected =
		"------------[ cut here ]------------\n"
		"slab: double free detected in cache 'things', object at ADDR, again at "
		"object_that_was_flushed_to_its_slab\n"
		"WARNING: CPU: 0 PID: N at slab_report.c:N report_double_free\n"
		"CPU: 0 PID: N Comm: call preempt_count: 0\n"
		"Call Trace:\n"
		"---[ end trace 0000000000000001 ]---\n"
		"freed again at $c object_that_was_flushed_to_its_slab\n"
		"object allocated at $a object_that_was_flushed_to_its_slab\n"
		"object last freed at $b object_that_was_flushed_to_its_slab\n"),
	CASE(object_whose_slab_is_gone,
	     .expected =
		"------------[ cut here ]------------\n"
		"kfree: Object is not a Slab page! It is a frame that is not a slab page\n"
		"WARNING: CPU: 0 PID: N at slab_report.c:N report_bad_free\n"
		"CPU: 0 PID: N Comm: call preempt_count: 0\n"
		"Call Trace:\n"
		"---[ end trace 0000000000000001 ]---\n"
		"freed at $c object_whose_slab_is_gone\n"
		"it was an object of 'things', whose memory is gone: a double free?\n"
		"object allocated at $a object_whose_slab_is_gone\n"
		"object last freed at $b object_whose_slab_is_gone\n"
		"page: refcount:0 mapcount:0 mapping:none index:ADDR pfn:ADDR\n"
		"flags: ADDR(pcp) node:0 zone:1 order:0\n"
		"page last allocated at slab.c:N kmem_getpages\n"
		"page freed at slab.c:N kmem_freepages\n"
		"page dumped because: freed as an object\n"),
	CASE(object_twice_in_a_bulk_free,
	     .expected =
		"------------[ cut here ]------------\n"
		"slab: double free detected in cache 'things', object at ADDR, again at "
		"object_twice_in_a_bulk_free\n"
		"WARNING: CPU: 0 PID: N at slab_report.c:N report_double_free\n"
		"CPU: 0 PID: N Comm: call preempt_count: 0\n"
		"Call Trace:\n"
		"---[ end trace 0000000000000001 ]---\n"
		"freed again at $b object_twice_in_a_bulk_free\n"
		"object allocated at $a object_twice_in_a_bulk_free\n"
		"object last freed at $b object_twice_in_a_bulk_free\n"),
	CASE(object_with_its_user_stored,
	     .expected =
		"------------[ cut here ]------------\n"
		"slab: double free detected in cache 'things', object at ADDR, again at "
		"object_with_its_user_stored\n"
		"WARNING: CPU: 0 PID: N at slab_report.c:N report_double_free\n"
		"CPU: 0 PID: N Comm: call preempt_count: 0\n"
		"Call Trace:\n"
		"---[ end trace 0000000000000001 ]---\n"
		"freed again at $c object_with_its_user_stored\n"
		"object allocated at $a object_with_its_user_stored, cpu=0 task=call/2 "
		"age=0us\n"
		"object last freed at $b object_with_its_user_stored, cpu=0 task=call/2 "
		"age=0us\n"),
	CASE(large_block,
	     .expected =
		"------------[ cut here ]------------\n"
		"kfree: Object is not a Slab page! It is a frame that is not a slab page\n"
		"WARNING: CPU: 0 PID: N at slab_report.c:N report_bad_free\n"
		"CPU: 0 PID: N Comm: call preempt_count: 0\n"
		"Call Trace:\n"
		"---[ end trace 0000000000000001 ]---\n"
		"freed at $c large_block\n"
		"it was an object of 'large kmalloc', whose memory is gone: a double free?\n"
		"object allocated at $a large_block\n"
		"object last freed at $b large_block\n"
		"page: refcount:0 mapcount:0 mapping:none index:ADDR pfn:ADDR\n"
		"flags: ADDR(buddy) node:0 zone:1 order:0\n"
		"page last allocated at $a large_block\n"
		"page freed at $b large_block\n"
		"page dumped because: freed as an object\n"),
	CASE(frames,
	     .expected =
		"------------[ cut here ]------------\n"
		"put of a frame that nobody holds: pfn:ADDR refcount:0 (it is free: a double "
		"free?)\n"
		"WARNING: CPU: 0 PID: N at page.c:N page_put_of_nothing\n"
		"CPU: 0 PID: N Comm: call preempt_count: 0\n"
		"Call Trace:\n"
		"---[ end trace 0000000000000001 ]---\n"
		"page put at $c frames\n"
		"page: refcount:0 mapcount:0 mapping:none index:ADDR pfn:ADDR\n"
		"flags: ADDR(buddy) node:0 zone:1 order:0\n"
		"page last allocated at $a frames\n"
		"page freed at $b frames\n"
		"page dumped because: put without a reference\n"),
	CASE(vmalloc_area,
	     .expected =
		"------------[ cut here ]------------\n"
		"Trying to vfree() nonexistent vm area, or not its start at $c "
		"vmalloc_area(): freed before at $b vmalloc_area(); made at $a vmalloc_area()\n"
		"WARNING: CPU: 0 PID: N at vmap.c:N area_take\n"
		"CPU: 0 PID: N Comm: call preempt_count: 0\n"
		"Call Trace:\n"
		"---[ end trace 0000000000000001 ]---\n"),
	CASE(element_of_a_pool,
	     .expected =
		"------------[ cut here ]------------\n"
		"mempool: double free of an element, pool of test_mismatch.c:N "
		"element_of_a_pool\n"
		"WARNING: CPU: 0 PID: N at mempool.c:N report_element\n"
		"CPU: 0 PID: N Comm: call preempt_count: 0\n"
		"Call Trace:\n"
		"---[ end trace 0000000000000001 ]---\n"
		"first freed at mempool.c:N mempool_kfree\n"
		"now at $c element_of_a_pool\n"),
	CASE(per_cpu_object,
	     .expected =
		"------------[ cut here ]------------\n"
		"percpu: double free, or free of what never was an object\n"
		"WARNING: CPU: 0 PID: N at percpu.c:N report_percpu\n"
		"CPU: 0 PID: N Comm: call preempt_count: 0\n"
		"Call Trace:\n"
		"---[ end trace 0000000000000001 ]---\n"
		"freed at $c per_cpu_object\n"
		"freed before at $b per_cpu_object\n"),
	CASE(whole_cache,
	     .expected =
		"------------[ cut here ]------------\n"
		"kmem_cache_destroy: not a cache, or destroyed already\n"
		"WARNING: CPU: 0 PID: N at slab_report.c:N report_bad_destroy\n"
		"CPU: 0 PID: N Comm: call preempt_count: 0\n"
		"Call Trace:\n"
		"---[ end trace 0000000000000001 ]---\n"
		"destroyed now at $c whole_cache\n"
		"it was 'things'\n"
		"created at $a whole_cache\n"
		"destroyed before at $b whole_cache\n"),
	CASE(kfree_of_vmalloc_memory,
	     .expected =
		"------------[ cut here ]------------\n"
		"kfree: Object is not a Slab page! It is vmalloc memory, which vfree() frees\n"
		"WARNING: CPU: 0 PID: N at slab_report.c:N report_bad_free\n"
		"CPU: 0 PID: N Comm: call preempt_count: 0\n"
		"Call Trace:\n"
		"---[ end trace 0000000000000001 ]---\n"
		"freed at $b kfree_of_vmalloc_memory\n"
		"N bytes inside a vmalloc() area, which vfree() ends; made at $a "
		"kfree_of_vmalloc_memory()\n"),
	CASE(vfree_of_kmalloc_memory,
	     .expected =
		"------------[ cut here ]------------\n"
		"Trying to vfree() nonexistent vm area, or not its start at $b "
		"vfree_of_kmalloc_memory(): not in the vmalloc window\n"
		"WARNING: CPU: 0 PID: N at vmap.c:N area_take\n"
		"CPU: 0 PID: N Comm: call preempt_count: 0\n"
		"Call Trace:\n"
		"---[ end trace 0000000000000001 ]---\n"
		"slab kmalloc-128, object at ADDR, pointer offset 0, size 128\n"
		"object allocated at $a vfree_of_kmalloc_memory\n"),
	CASE(vfree_of_a_large_block,
	     .expected =
		"------------[ cut here ]------------\n"
		"Trying to vfree() nonexistent vm area, or not its start at $b "
		"vfree_of_a_large_block(): not in the vmalloc window; a frame, taken at $a "
		"vfree_of_a_large_block()\n"
		"WARNING: CPU: 0 PID: N at vmap.c:N area_take\n"
		"CPU: 0 PID: N Comm: call preempt_count: 0\n"
		"Call Trace:\n"
		"---[ end trace 0000000000000001 ]---\n"
		"large block of kmalloc() of N bytes, pointer offset 0\n"
		"allocated at $a vfree_of_a_large_block\n"),
	CASE(vfree_inside_an_area,
	     .expected =
		"------------[ cut here ]------------\n"
		"Trying to vfree() nonexistent vm area, or not its start at $b "
		"vfree_inside_an_area(): N bytes inside a vmalloc() area, which vfree() "
		"ends; made at $a vfree_inside_an_area()\n"
		"WARNING: CPU: 0 PID: N at vmap.c:N area_take\n"
		"CPU: 0 PID: N Comm: call preempt_count: 0\n"
		"Call Trace:\n"
		"---[ end trace 0000000000000001 ]---\n"),
	CASE(kfree_of_frames,
	     .expected =
		"------------[ cut here ]------------\n"
		"kfree: Object is not a Slab page! It is a frame that is not a slab page\n"
		"WARNING: CPU: 0 PID: N at slab_report.c:N report_bad_free\n"
		"CPU: 0 PID: N Comm: call preempt_count: 0\n"
		"Call Trace:\n"
		"---[ end trace 0000000000000001 ]---\n"
		"freed at $b kfree_of_frames\n"
		"page: refcount:1 mapcount:0 mapping:none index:ADDR pfn:ADDR\n"
		"flags: ADDR() node:0 zone:1 order:0\n"
		"page allocated at $a kfree_of_frames\n"
		"page dumped because: freed as an object\n"),
	CASE(free_pages_of_an_object,
	     .expected =
		"------------[ cut here ]------------\n"
		"free of frames that are a slab's: pfn:ADDR\n"
		"WARNING: CPU: 0 PID: N at page_free.c:N refuse_slab\n"
		"CPU: 0 PID: N Comm: call preempt_count: 0\n"
		"Call Trace:\n"
		"---[ end trace 0000000000000001 ]---\n"
		"page freed at $b free_pages_of_an_object\n"
		"page: refcount:1 mapcount:0 mapping:set index:ADDR pfn:ADDR\n"
		"flags: ADDR(slab) node:0 zone:1 order:0\n"
		"page allocated at slab.c:N kmem_getpages\n"
		"page dumped because: freed as frames, and a slab\n"),
	CASE(too_small_an_order,
	     .expected =
		"------------[ cut here ]------------\n"
		"frames freed with order 1, allocated with order 2\n"
		"WARNING: CPU: 0 PID: N at page_free.c:N checked_order\n"
		"CPU: 0 PID: N Comm: call preempt_count: 0\n"
		"Call Trace:\n"
		"---[ end trace 0000000000000001 ]---\n"
		"page freed at $b too_small_an_order\n"
		"page: refcount:0 mapcount:0 mapping:none index:ADDR pfn:ADDR\n"
		"flags: ADDR() node:0 zone:1 order:2\n"
		"page allocated at $a too_small_an_order\n"
		"page dumped because: freed with the wrong order\n"),
	CASE(too_large_an_order,
	     .expected =
		"------------[ cut here ]------------\n"
		"frames freed with order 3, allocated with order 1\n"
		"WARNING: CPU: 0 PID: N at page_free.c:N checked_order\n"
		"CPU: 0 PID: N Comm: call preempt_count: 0\n"
		"Call Trace:\n"
		"---[ end trace 0000000000000001 ]---\n"
		"page freed at $b too_large_an_order\n"
		"page: refcount:0 mapcount:0 mapping:none index:ADDR pfn:ADDR\n"
		"flags: ADDR() node:0 zone:1 order:1\n"
		"page allocated at $a too_large_an_order\n"
		"page dumped because: freed with the wrong order\n"),
	CASE(object_of_another_cache,
	     .expected =
		"------------[ cut here ]------------\n"
		"kmem_cache_free: wrong slab cache: others, but the object is from things, "
		"at $b\n"
		"WARNING: CPU: 0 PID: N at slab_report.c:N report_wrong_cache\n"
		"CPU: 0 PID: N Comm: call preempt_count: 0\n"
		"Call Trace:\n"
		"---[ end trace 0000000000000001 ]---\n"
		"freed at $b object_of_another_cache\n"
		"object allocated at $a object_of_another_cache\n"),
	CASE(no_object_to_a_cache,
	     .expected =
		"------------[ cut here ]------------\n"
		"kmem_cache_free: Object is not a Slab page! It is a frame that is not a "
		"slab page\n"
		"WARNING: CPU: 0 PID: N at slab_report.c:N report_bad_free\n"
		"CPU: 0 PID: N Comm: call preempt_count: 0\n"
		"Call Trace:\n"
		"---[ end trace 0000000000000001 ]---\n"
		"freed at $b no_object_to_a_cache\n"
		"page: refcount:1 mapcount:0 mapping:none index:ADDR pfn:ADDR\n"
		"flags: ADDR() node:0 zone:1 order:0\n"
		"page allocated at $a no_object_to_a_cache\n"
		"page dumped because: freed as an object\n"),
	CASE(object_to_no_cache,
	     .expected =
		"------------[ cut here ]------------\n"
		"kmem_cache_free: wrong slab cache: NULL, but the object is from things, at "
		"$b\n"
		"WARNING: CPU: 0 PID: N at slab_report.c:N report_wrong_cache\n"
		"CPU: 0 PID: N Comm: call preempt_count: 0\n"
		"Call Trace:\n"
		"---[ end trace 0000000000000001 ]---\n"
		"freed at $b object_to_no_cache\n"
		"object allocated at $a object_to_no_cache\n"),
	CASE(cache_with_a_live_object,
	     .expected =
		"------------[ cut here ]------------\n"
		"kmem_cache_destroy things: Slab cache still has objects\n"
		"WARNING: CPU: 0 PID: N at cache.c:N kmem_cache_destroy_site\n"
		"CPU: 0 PID: N Comm: call preempt_count: 0\n"
		"Call Trace:\n"
		"---[ end trace 0000000000000001 ]---\n"
		"things: object ADDR of slab at pfn ADDR, from $a cache_with_a_live_object\n"
		"things: 1 objects, from $a cache_with_a_live_object\n"),
	CASE(krealloc_of_freed_memory,
	     .expected =
		"------------[ cut here ]------------\n"
		"krealloc of freed memory, at $c\n"
		"WARNING: CPU: 0 PID: N at kmalloc.c:N krealloc_site\n"
		"CPU: 0 PID: N Comm: call preempt_count: 0\n"
		"Call Trace:\n"
		"---[ end trace 0000000000000001 ]---\n"
		"slab kmalloc-128, object at ADDR, pointer offset 0, size 128\n"
		"object allocated at $a krealloc_of_freed_memory\n"
		"object last freed at $b krealloc_of_freed_memory\n"),
	CASE(null_to_a_cache,
	     .expected =
		"------------[ cut here ]------------\n"
		"kmem_cache_free: NULL, at $a\n"
		"WARNING: CPU: 0 PID: N at array.c:N kmem_cache_free_site\n"
		"CPU: 0 PID: N Comm: call preempt_count: 0\n"
		"Call Trace:\n"
		"---[ end trace 0000000000000001 ]---\n"),
	CASE(inside_an_object,
	     .expected =
		"------------[ cut here ]------------\n"
		"slab: free of a pointer that is not the start of an object of cache "
		"'kmalloc-128': ADDR, N bytes into the object at ADDR\n"
		"WARNING: CPU: 0 PID: N at slab_report.c:N report_interior\n"
		"CPU: 0 PID: N Comm: call preempt_count: 0\n"
		"Call Trace:\n"
		"---[ end trace 0000000000000001 ]---\n"
		"freed at $b inside_an_object\n"
		"object allocated at $a inside_an_object\n"),
	CASE(inside_a_large_block,
	     .expected =
		"------------[ cut here ]------------\n"
		"kfree: Object is not a Slab page! It is inside a block of frames\n"
		"WARNING: CPU: 0 PID: N at slab_report.c:N report_bad_free\n"
		"CPU: 0 PID: N Comm: call preempt_count: 0\n"
		"Call Trace:\n"
		"---[ end trace 0000000000000001 ]---\n"
		"freed at $b inside_a_large_block\n"
		"page: refcount:0 mapcount:0 mapping:none index:ADDR pfn:ADDR\n"
		"head: pfn:ADDR order:3 refcount:1\n"
		"flags: ADDR() node:0 zone:1 order:0\n"
		"page allocated at $a inside_a_large_block\n"
		"page dumped because: freed as an object\n"),
	CASE(behind_the_objects_of_a_slab,
	     .expected =
		"------------[ cut here ]------------\n"
		"slab: free of a pointer that is not the start of an object of cache "
		"'things': ADDR, before or behind all of the slab's\n"
		"WARNING: CPU: 0 PID: N at slab_report.c:N report_interior\n"
		"CPU: 0 PID: N Comm: call preempt_count: 0\n"
		"Call Trace:\n"
		"---[ end trace 0000000000000001 ]---\n"
		"freed at $a behind_the_objects_of_a_slab\n"),
	CASE(stack,
	     .expected =
		"------------[ cut here ]------------\n"
		"kfree: Object is not a Slab page! It is an address on the stack of the "
		"running task\n"
		"WARNING: CPU: 0 PID: N at slab_report.c:N report_bad_free\n"
		"CPU: 0 PID: N Comm: call preempt_count: 0\n"
		"Call Trace:\n"
		"---[ end trace 0000000000000001 ]---\n"
		"freed at $a stack\n"),
	CASE(hosts_heap,
	     .expected =
		"------------[ cut here ]------------\n"
		"kfree: Object is not a Slab page! It is memory of the host or of another "
		"machine\n"
		"WARNING: CPU: 0 PID: N at slab_report.c:N report_bad_free\n"
		"CPU: 0 PID: N Comm: call preempt_count: 0\n"
		"Call Trace:\n"
		"---[ end trace 0000000000000001 ]---\n"
		"freed at $a hosts_heap\n"),
	CASE(object_of_another_machine,
	     .expected =
		"------------[ cut here ]------------\n"
		"kfree: Object is not a Slab page! It is memory of the host or of another "
		"machine\n"
		"WARNING: CPU: 0 PID: N at slab_report.c:N report_bad_free\n"
		"CPU: 0 PID: N Comm: call preempt_count: 0\n"
		"Call Trace:\n"
		"---[ end trace 0000000000000001 ]---\n"
		"freed at $a object_of_another_machine\n"),
	CASE(armed_timer_inside,
	     .expected =
		"------------[ cut here ]------------\n"
		"kfree: active timer freed, N bytes into a block of 96; it is stopped\n"
		"WARNING: CPU: 0 PID: N at free_check.c:N check_timers\n"
		"CPU: 0 PID: N Comm: call preempt_count: 0\n"
		"Call Trace:\n"
		"---[ end trace 0000000000000001 ]---\n"
		"timer started at $a armed_timer_inside\n"
		"freed at $b armed_timer_inside\n"),
	CASE(live_object_inside,
	     .expected =
		"------------[ cut here ]------------\n"
		"kfree: live embedded freed, N bytes into a block of 96, with 1 references\n"
		"WARNING: CPU: 0 PID: N at free_check.c:N check_arcs\n"
		"CPU: 0 PID: N Comm: call preempt_count: 0\n"
		"Call Trace:\n"
		"---[ end trace 0000000000000001 ]---\n"
		"object made at $a live_object_inside\n"
		"freed at $b live_object_inside\n"),
	CASE(live_object_inside_vmalloc_memory,
	     .expected =
		"------------[ cut here ]------------\n"
		"vfree: live embedded freed, N bytes into a block of 4096, with 1 references\n"
		"WARNING: CPU: 0 PID: N at free_check.c:N check_arcs\n"
		"CPU: 0 PID: N Comm: call preempt_count: 0\n"
		"Call Trace:\n"
		"---[ end trace 0000000000000001 ]---\n"
		"object made at $a live_object_inside_vmalloc_memory\n"
		"freed at $b live_object_inside_vmalloc_memory\n"),
